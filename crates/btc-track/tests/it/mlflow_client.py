"""Drives the unmodified MLflow client against a server: mlflow_client.py URI SECTION...

Every section raises on the first difference from what MLflow's own server does.
"""

import logging
import math
import os
import sys
import tempfile
import time

os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"
os.environ["MLFLOW_DISABLE_AGENT_HINTS"] = "true"
os.environ["DO_NOT_TRACK"] = "true"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["GIT_PYTHON_REFRESH"] = "quiet"

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

logging.getLogger("mlflow").setLevel(logging.ERROR)
URI = sys.argv[1]
mlflow.set_tracking_uri(URI)
client = MlflowClient()


def unique(name):
    return f"{name}-{time.time_ns()}"


def raises(code, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except MlflowException as error:
        assert error.error_code == code, (error.error_code, str(error))
        return str(error)
    raise AssertionError(f"{function} {args} {kwargs} did not fail with {code}")


def experiments():
    name = unique("exp")
    id = client.create_experiment(name, tags={"team": "a"})
    found = client.get_experiment_by_name(name)
    assert found.experiment_id == id and found.tags == {"team": "a"}
    assert found.lifecycle_stage == "active"
    assert found.artifact_location == f"mlflow-artifacts:/{id}", found.artifact_location
    assert client.get_experiment_by_name("no such") is None
    raises("RESOURCE_DOES_NOT_EXIST", client.get_experiment, "424242")
    raises("RESOURCE_ALREADY_EXISTS", client.create_experiment, name)
    client.set_experiment_tag(id, "team", "b")
    client.set_experiment_tag(id, "x", "y")
    client.delete_experiment_tag(id, "x")
    assert client.get_experiment(id).tags == {"team": "b"}
    client.rename_experiment(id, name + "-2")
    assert client.get_experiment(id).name == name + "-2"
    found = client.search_experiments(filter_string=f"name = '{name}-2'")
    assert [e.experiment_id for e in found] == [id]
    found = client.search_experiments(filter_string="tags.team = 'b'", order_by=["name DESC"])
    assert id in [e.experiment_id for e in found]
    run = client.create_run(id)
    client.delete_experiment(id)
    assert client.get_experiment_by_name(name + "-2").lifecycle_stage == "deleted"
    assert id not in [e.experiment_id for e in client.search_experiments()]
    deleted = client.search_experiments(view_type=ViewType.DELETED_ONLY)
    assert id in [e.experiment_id for e in deleted]
    raises("INVALID_PARAMETER_VALUE", client.create_run, id)
    raises("RESOURCE_ALREADY_EXISTS", client.create_experiment, name + "-2")
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "deleted"
    client.restore_experiment(id)
    assert client.get_experiment(id).lifecycle_stage == "active"
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "active"
    names = sorted(unique("page") for _ in range(7))
    ids = {client.create_experiment(n) for n in names}
    seen, token = [], None
    while True:
        page = client.search_experiments(max_results=3, page_token=token, order_by=["name"],
                                         filter_string="name LIKE 'page-%'")
        seen += [e.name for e in page]
        token = page.token
        if not token:
            break
    assert seen == names and len(ids) == 7


def runs():
    id = client.create_experiment(unique("runs"))
    mlflow.set_experiment(experiment_id=id)
    with mlflow.start_run(run_name="parent", tags={"a": "b"}) as parent:
        mlflow.log_param("units", 64)
        mlflow.log_params({"lr": 1e-3, "name": "lstm"})
        mlflow.log_metric("loss", 0.5, step=0)
        mlflow.log_metric("loss", 0.25, step=1)
        mlflow.log_metrics({"mape": 2.5, "nan": math.nan, "inf": math.inf, "ninf": -math.inf}, step=3)
        mlflow.set_tags({"state": "COMPLETE", "mlflow.note.content": "a note"})
        with mlflow.start_run(run_name="child", nested=True) as child:
            mlflow.log_metric("loss", 1.0)
        raises("INVALID_PARAMETER_VALUE", mlflow.log_param, "units", 65)
        mlflow.log_param("units", 64)
    run = client.get_run(parent.info.run_id)
    assert run.info.status == "FINISHED" and run.info.end_time >= run.info.start_time
    assert run.info.run_name == "parent"
    assert run.data.params == {"units": "64", "lr": "0.001", "name": "lstm"}
    assert run.data.metrics["loss"] == 0.25 and math.isnan(run.data.metrics["nan"])
    assert run.data.metrics["inf"] == sys.float_info.max
    assert run.data.metrics["ninf"] == -sys.float_info.max
    assert run.data.tags["state"] == "COMPLETE" and run.data.tags["mlflow.runName"] == "parent"
    assert run.info.artifact_uri == f"mlflow-artifacts:/{id}/{run.info.run_id}/artifacts"
    children = client.search_runs([id], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert [c.info.run_id for c in children] == [child.info.run_id]
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.value, m.step) for m in history] == [(0.5, 0), (0.25, 1)]
    assert client.get_metric_history(run.info.run_id, "no such") == []
    client.update_run(run.info.run_id, name="renamed")
    assert client.get_run(run.info.run_id).data.tags["mlflow.runName"] == "renamed"
    client.set_tag(run.info.run_id, "t", "1")
    client.delete_tag(run.info.run_id, "t")
    assert "t" not in client.get_run(run.info.run_id).data.tags
    raises("RESOURCE_DOES_NOT_EXIST", client.delete_tag, run.info.run_id, "t")
    client.set_terminated(run.info.run_id, "KILLED")
    assert client.get_run(run.info.run_id).info.status == "KILLED"
    client.delete_run(run.info.run_id)
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "deleted"
    raises("INVALID_PARAMETER_VALUE", client.log_metric, run.info.run_id, "loss", 1.0)
    found = client.search_runs([id], run_view_type=ViewType.DELETED_ONLY)
    assert [r.info.run_id for r in found] == [run.info.run_id]
    assert len(client.search_runs([id], run_view_type=ViewType.ALL)) == 2
    client.restore_run(run.info.run_id)
    client.log_metric(run.info.run_id, "loss", 9.0, step=5)
    assert client.get_run(run.info.run_id).data.metrics["loss"] == 9.0
    raises("RESOURCE_DOES_NOT_EXIST", client.get_run, "0" * 32)
    client.log_batch(
        run.info.run_id,
        metrics=[Metric("b", i / 10, 1000 + i, i) for i in range(1000)],
        params=[Param(f"p{i}", str(i)) for i in range(99)],
        tags=[RunTag(f"t{i}", str(i)) for i in range(99)],
    )
    assert len(client.get_metric_history(run.info.run_id, "b")) == 1000
    dataset = Dataset("prices", "abc123", "local", "{}", "[]", "{}")
    client.log_inputs(run.info.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    got = client.get_run(run.info.run_id).inputs.dataset_inputs
    assert got[0].dataset.name == "prices" and got[0].tags[0].value == "training"
    for f in ["dataset.name = 'prices'", "datasets.digest LIKE 'abc%'", "dataset.context = 'training'"]:
        assert [r.info.run_id for r in client.search_runs([id], f)] == [run.info.run_id], f
    assert len(client.search_runs([id], "dataset.name != 'prices'")) == 0
    try:
        with mlflow.start_run() as failing:
            raise ValueError("broken")
    except ValueError:
        pass
    assert client.get_run(failing.info.run_id).info.status == "FAILED"


def search():
    id = client.create_experiment(unique("search"))
    ids = []
    for i in range(6):
        run = client.create_run(id, run_name=f"Run{i}", start_time=1000 + i, tags={"odd": str(i % 2)})
        ids.append(run.info.run_id)
        if i < 5:
            client.log_metric(ids[i], "m", math.nan if i == 4 else float(i), timestamp=1, step=0)
            client.log_param(ids[i], "p", "abcdef"[i] + "_%X")
        client.set_terminated(ids[i], "FINISHED" if i % 2 else "FAILED", end_time=2000 + i)

    def check(filter, *expected, order=("attributes.start_time ASC",)):
        found = [ids.index(r.info.run_id) for r in client.search_runs([id], filter, order_by=list(order))]
        assert found == list(expected), (filter, found, expected)

    check("", 0, 1, 2, 3, 4, 5)
    check("metrics.m = 1", 1)
    check("metrics.m != 1", 0, 2, 3, 4)
    check("metrics.m < 2", 0, 1)
    check("metrics.m <= 2", 0, 1, 2)
    check("metrics.m > 1", 2, 3)
    check("metric.m >= 1.0 and metrics.m < 3", 1, 2)
    check("params.p = 'a_%X'", 0)
    check("params.p != 'a_%X'", 1, 2, 3, 4)
    check("params.p LIKE 'b%'", 1)
    check("params.p LIKE 'B%'")
    check("parameter.p ILIKE 'B%'", 1)
    check("tags.odd = '1'", 1, 3, 5)
    check('tag."odd" = "1" AND params.`p` LIKE "%X"', 1, 3)
    check("attributes.status = 'FINISHED'", 1, 3, 5)
    check("status != 'FINISHED'", 0, 2, 4)
    check("attributes.run_name = 'Run3'", 3)
    check("run.run_name LIKE 'Run%'", 0, 1, 2, 3, 4, 5)
    check("attributes.`run name` ILIKE 'rUN2'", 2)
    check(f"run_id = '{ids[2]}'", 2)
    check(f"attributes.run_id IN ('{ids[2]}', '{ids[4]}')", 2, 4)
    check(f"attributes.run_id NOT IN ('{ids[2]}', '{ids[4]}')", 0, 1, 3, 5)
    check("start_time >= 1003", 3, 4, 5)
    check("attr.end_time < 2002", 0, 1)
    check("params.p IS NULL", 5)
    check("params.p IS NOT NULL", 0, 1, 2, 3, 4)
    check("", 0, 1, 2, 3, 4, 5, order=["metrics.m ASC"])
    check("", 3, 2, 1, 0, 4, 5, order=["metrics.m DESC"])
    check("", 5, 4, 3, 2, 1, 0, order=[])
    check("", 1, 3, 5, 0, 2, 4, order=["tags.odd DESC", "attributes.start_time"])
    for bad in ["metrics.m = '1'", "metrics.m LIKE 1", "params.p > '1'", "nonsense.m = 1", "metrics.m = 1 OR 1 = 1",
                "metrics.m", "= 1", "params.p = 1", "(metrics.m = 1)", "NOT metrics.m = 1", "metrics.m BETWEEN 1 AND 2",
                "status IN ('FINISHED')", "metrics.m = 1; DROP TABLE run"]:
        message = raises("INVALID_PARAMETER_VALUE", client.search_runs, [id], bad)
        assert "SELECT" not in message
    seen, token = [], None
    while True:
        page = client.search_runs([id], order_by=["metrics.m DESC"], max_results=2, page_token=token)
        seen += [ids.index(r.info.run_id) for r in page]
        token = page.token
        if not token:
            break
    assert seen == [3, 2, 1, 0, 4, 5], seen
    frame = mlflow.search_runs([id], "metrics.m >= 0")
    assert len(frame) == 4 and "metrics.m" in frame


def artifacts():
    id = client.create_experiment(unique("files"))
    run = client.create_run(id).info.run_id
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(f"{folder}/tree/deep/er")
        for name, text in [("a.txt", "a"), ("deep/b c.txt", "b"), ("deep/er/ünï.json", "{}")]:
            with open(f"{folder}/tree/{name}", "w") as file:
                file.write(text)
        client.log_artifact(run, f"{folder}/tree/a.txt")
        client.log_artifacts(run, f"{folder}/tree", "tree")
        client.log_text(run, "hello", "notes/hello.txt")
        client.log_dict(run, {"k": [1, 2]}, "notes/dict.json")
        big = os.urandom(1024 * 1024) * 100
        with open(f"{folder}/big.bin", "wb") as file:
            file.write(big)
        client.log_artifact(run, f"{folder}/big.bin", "big")
        listed = {f.path: (f.is_dir, f.file_size) for f in client.list_artifacts(run)}
        assert listed == {"a.txt": (False, 1), "big": (True, None), "notes": (True, None), "tree": (True, None)}, listed
        listed = [f.path for f in client.list_artifacts(run, "tree/deep")]
        assert listed == ["tree/deep/b c.txt", "tree/deep/er"], listed
        assert client.list_artifacts(run, "a.txt") == []
        assert client.list_artifacts(run, "missing") == []
        local = client.download_artifacts(run, "tree", folder)
        assert open(f"{local}/deep/er/ünï.json").read() == "{}"
        local = client.download_artifacts(run, "big/big.bin", f"{folder}")
        assert open(local, "rb").read() == big
        assert mlflow.artifacts.load_dict(f"runs:/{run}/notes/dict.json") == {"k": [1, 2]}
        assert mlflow.artifacts.load_text(f"mlflow-artifacts:/{id}/{run}/artifacts/notes/hello.txt") == "hello"
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        repository = get_artifact_repository(f"mlflow-artifacts:/{id}/{run}/artifacts")
        repository.delete_artifacts("tree")
        assert client.list_artifacts(run, "tree") == []


class Doubler(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [2 * x for x in model_input["x"]]


def models():
    import pandas

    id = client.create_experiment(unique("models"))
    mlflow.set_experiment(experiment_id=id)
    name = unique("doubler")
    frame = pandas.DataFrame({"x": [1.0, 2.0]})
    with mlflow.start_run() as run:
        mlflow.log_metric("mape", 1.0)
        info = mlflow.pyfunc.log_model(name="model", python_model=Doubler(), input_example=frame,
                                       registered_model_name=name, pip_requirements=["mlflow"])
        mlflow.log_metric("with_model", 3.0, step=1, model_id=info.model_id)
    assert info.model_id.startswith("m-") and len(info.model_id) == 34
    for uri in [info.model_uri, f"runs:/{run.info.run_id}/model", f"models:/{name}/1"]:
        model = mlflow.pyfunc.load_model(uri)
        assert model.predict(frame) == [2.0, 4.0], uri
    got = mlflow.get_logged_model(info.model_id)
    assert got.status == "READY" and got.source_run_id == run.info.run_id
    assert {m.key: m.value for m in got.metrics}["with_model"] == 3.0
    found = mlflow.search_logged_models(experiment_ids=[id], filter_string="metrics.with_model > 2", output_format="list")
    assert [m.model_id for m in found] == [info.model_id]
    found = mlflow.search_logged_models(experiment_ids=[id], output_format="list",
                                        order_by=[{"field_name": "metrics.with_model", "ascending": False}])
    assert [m.model_id for m in found] == [info.model_id]
    client.set_logged_model_tags(info.model_id, {"k": "v"})
    assert mlflow.get_logged_model(info.model_id).tags["k"] == "v"
    client.delete_logged_model_tag(info.model_id, "k")
    assert "k" not in mlflow.get_logged_model(info.model_id).tags
    client.log_model_params(info.model_id, {"units": "64"})
    assert mlflow.get_logged_model(info.model_id).params["units"] == "64"
    outputs = client.get_run(run.info.run_id).outputs.model_outputs
    assert [o.model_id for o in outputs] == [info.model_id]
    assert mlflow.models.get_model_info(f"models:/{name}/1").run_id == run.info.run_id
    draft = client.create_logged_model(id, name="draft")
    client.delete_logged_model(draft.model_id)
    raises("RESOURCE_DOES_NOT_EXIST", client.get_logged_model, draft.model_id)


def registry():
    name = unique("reg")
    id = client.create_experiment(unique("registry"))
    run = client.create_run(id).info.run_id
    client.log_text(run, "weights", "model/weights.bin")
    raises("RESOURCE_DOES_NOT_EXIST", client.get_registered_model, name)
    client.create_registered_model(name, tags={"a": "1"}, description="first")
    raises("RESOURCE_ALREADY_EXISTS", client.create_registered_model, name)
    for i in range(11):
        version = client.create_model_version(name, f"runs:/{run}/model", run_id=run, tags={"i": str(i)})
        assert version.version == str(i + 1), version.version
        assert version.status == "READY" and version.current_stage == "None"
    assert client.get_latest_versions(name)[0].version == "11"
    uri = client.get_model_version_download_uri(name, "3")
    assert uri in (f"mlflow-artifacts:/{id}/{run}/artifacts/model", f"runs:/{run}/model"), uri
    found = client.search_model_versions(f"name = '{name}'")
    assert [int(v.version) for v in found] == list(range(11, 0, -1))
    found = client.search_model_versions(f"run_id = '{run}' AND tags.i = '4'")
    assert [v.version for v in found] == ["5"]
    client.set_registered_model_alias(name, "champion", "2")
    assert client.get_model_version_by_alias(name, "champion").version == "2"
    assert client.get_model_version(name, "2").aliases == ["champion"]
    client.set_registered_model_alias(name, "champion", "3")
    assert client.get_registered_model(name).aliases == {"champion": "3"}
    local = mlflow.artifacts.download_artifacts(f"models:/{name}@champion")
    assert open(f"{local}/weights.bin").read() == "weights"
    raises("INVALID_PARAMETER_VALUE", client.get_model_version_by_alias, name, "nobody")
    raises("INVALID_PARAMETER_VALUE", client.set_registered_model_alias, name, "latest", "1")
    raises("RESOURCE_DOES_NOT_EXIST", client.set_registered_model_alias, name, "x", "99")
    client.delete_registered_model_alias(name, "champion")
    assert client.get_registered_model(name).aliases == {}
    client.transition_model_version_stage(name, "4", "Production")
    client.transition_model_version_stage(name, "5", "production", archive_existing_versions=True)
    assert client.get_model_version(name, "4").current_stage == "Archived"
    assert client.get_latest_versions(name, ["Production"])[0].version == "5"
    raises("INVALID_PARAMETER_VALUE", client.transition_model_version_stage, name, "5", "Nowhere")
    client.update_model_version(name, "5", "better")
    assert client.get_model_version(name, "5").description == "better"
    client.set_model_version_tag(name, "5", "k", "v")
    client.set_model_version_tag(name, stage="Production", key="k2", value="v2")
    assert client.get_model_version(name, "5").tags == {"i": "4", "k": "v", "k2": "v2"}
    client.delete_model_version_tag(name, "5", "k")
    client.set_registered_model_tag(name, "b", "2")
    client.delete_registered_model_tag(name, "a")
    client.update_registered_model(name, "second")
    model = client.get_registered_model(name)
    assert model.tags == {"b": "2"} and model.description == "second"
    found = client.search_registered_models(f"name LIKE '{name[:8]}%'", order_by=["name DESC"])
    assert name in [m.name for m in found]
    assert [m.name for m in client.search_registered_models(f"name = '{name}' AND tags.b = '2'")] == [name]
    client.delete_model_version(name, "11")
    raises("RESOURCE_DOES_NOT_EXIST", client.get_model_version, name, "11")
    assert client.create_model_version(name, f"runs:/{run}/model", run_id=run).version == "12"
    client.rename_registered_model(name, name + "-new")
    assert client.get_model_version(name + "-new", "5").description == "better"
    client.delete_registered_model(name + "-new")
    raises("RESOURCE_DOES_NOT_EXIST", client.get_registered_model, name + "-new")
    for source in ["file:///tmp/x", "/tmp/x", "runs:/../x", "mlflow-artifacts:/0/x?y=1", "mlflow-artifacts:/0/x#y"]:
        client.create_registered_model(unique("bad")) if False else None
        raises("INVALID_PARAMETER_VALUE", client.create_model_version, "nothing", source)


if __name__ == "__main__":
    sections = sys.argv[2:] or ["experiments", "runs", "search", "artifacts", "models", "registry"]
    for section in sections:
        start = time.time()
        globals()[section]()
        print(f"{section} ok {time.time() - start:.1f} s", flush=True)
