"""A forecast of LSTM(H) or Conv2D in ONNX Runtime, which only applies networks: bench_onnx.py lstm|conv [H].

One window of 10 rows and 21 features at a time, on one thread.
"""
import sys, time
import numpy as np, onnx, onnxruntime as ort
from onnx import TensorProto, helper as h, numpy_helper

mode = sys.argv[1]
H = int(sys.argv[2]) if len(sys.argv) > 2 else 64
T, F, N = 10, 21, 700
rng = np.random.default_rng(0)
constants = []


def weight(name, *shape):
    constants.append(numpy_helper.from_array((rng.random(shape, dtype=np.float32) - 0.5) * 0.2, name))
    return name


def integers(name, values):
    constants.append(numpy_helper.from_array(np.array(values, dtype=np.int64), name))
    return name


if mode == "conv":
    nodes = [
        h.make_node("Unsqueeze", ["x", integers("one", [1])], ["image"]),
        h.make_node("Conv", ["image", weight("k", 32, 1, 3, F), weight("b", 32)], ["z"]),
        h.make_node("Relu", ["z"], ["a"]),
        h.make_node("Flatten", ["a"], ["flat"], axis=1),
    ]
    width = 32 * (T - 2)
else:
    nodes = [
        h.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        h.make_node("LSTM", ["steps", weight("w", 1, 4 * H, F), weight("r", 1, 4 * H, H), weight("b", 1, 8 * H)], ["", "state"], hidden_size=H),
        h.make_node("Squeeze", ["state", integers("zero", [0])], ["last"]),
        h.make_node("LeakyRelu", ["last"], ["flat"], alpha=0.5),
    ]
    width = H
nodes.append(h.make_node("Gemm", ["flat", weight("head", width, 1), weight("c", 1)], ["y"]))
graph = h.make_graph(nodes, mode, [h.make_tensor_value_info("x", TensorProto.FLOAT, [None, T, F])], [h.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])], constants)
model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9)
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
x = rng.random((N, 1, T, F), dtype=np.float32)
best = 1e9
for _ in range(20):
    began = time.perf_counter()
    for window in x:
        session.run(None, {"x": window})
    best = min(best, (time.perf_counter() - began) / N)
print(f"onnxruntime {ort.__version__} {mode} H={H}: min {best * 1e6:.1f} us a forecast")
