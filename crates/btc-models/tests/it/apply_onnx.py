# Applies models of ONNX to raw rows: argv[1] is a JSON list of cases, each with the path of a
# model and a batch of rows; prints the points and quantiles of each.
import json
import sys

import numpy
import onnx
import onnxruntime



def numbers(values):
    """Lists of numbers as JSON has them: what is none becomes null."""
    if isinstance(values, list):
        return [numbers(value) for value in values]
    return values if values == values else None


answers = []
for case in json.load(open(sys.argv[1])):
    onnx.checker.check_model(case["model"], full_check=True)
    session = onnxruntime.InferenceSession(case["model"], providers=["CPUExecutionProvider"])
    rows = numpy.array(
        [[[float("nan") if x is None else x for x in row] for row in window] for window in case["rows"]]
    )
    point, quantiles = session.run(["point", "quantiles"], {"rows": rows})
    metadata = session.get_modelmeta().custom_metadata_map
    answers.append(
        {
            "point": numbers(point.tolist()),
            "quantiles": numbers(quantiles.tolist()),
            "levels": json.loads(metadata["quantile_levels"]),
            "features": json.loads(metadata["features"]),
        }
    )
print(json.dumps(answers))
