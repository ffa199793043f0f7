"""An epoch of LSTM(H) or Conv2D in JAX, as bench_torch.py has it: bench_jax.py lstm|conv step|scan EPOCHS [H] [GROUPS].

`step` calls a compiled step for each batch, as training loops do; `scan` compiles the whole epoch
into one call. One thread: XLA_FLAGS="--xla_cpu_multi_thread_eigen=false" taskset -c 0 python ...
"""
import functools, sys, time
import jax, jax.numpy as jnp, numpy as np

mode, how, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3])
H = int(sys.argv[4]) if len(sys.argv) > 4 else 64
groups = int(sys.argv[5]) if len(sys.argv) > 5 else 5
N, T, F, B = 700, 10, 21, 32
rng = np.random.default_rng(0)
x = rng.random((N, T, F), dtype=np.float32)
y = (0.5 * x[:, T - 1, 0] + 0.3 * x[:, T - 2, 1] * x[:, T - 1, 2])[:, None]
uniform = lambda shape, fan: jnp.asarray(rng.uniform(-1, 1, shape) / np.sqrt(fan), jnp.float32)


def lstm(p, x, key):
    def cell(state, gates_x):
        h, c = state
        i, f, g, o = jnp.split(gates_x + h @ p["hh"], 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None
    zeros = jnp.zeros((x.shape[0], H))
    (h, _), _ = jax.lax.scan(cell, (zeros, zeros), (x @ p["ih"] + p["b"]).swapaxes(0, 1))
    h = jax.nn.leaky_relu(h, 0.5) * jax.random.bernoulli(key, 0.8, h.shape) / 0.8
    return h @ p["w"] + p["c"]


def conv(p, x, key):
    z = jax.lax.conv_general_dilated(x[:, None], p["k"], (1, 1), "VALID") + p["b"][:, None, None]
    return jax.nn.relu(z).reshape(x.shape[0], -1) @ p["w"] + p["c"]


if mode == "conv":
    net, p = conv, {"k": uniform((32, 1, 3, F), 3 * F), "b": uniform(32, 3 * F), "w": uniform((256, 1), 256), "c": uniform(1, 256)}
else:
    net, p = lstm, {"ih": uniform((F, 4 * H), H), "hh": uniform((H, 4 * H), H), "b": uniform(4 * H, H), "w": uniform((H, 1), H), "c": uniform(1, H)}
zeros = lambda: jax.tree.map(jnp.zeros_like, p)
state = (p, zeros(), zeros(), jnp.float32(0), jax.random.key(0))


def step(state, batch):
    p, m, v, t, key = state
    key, sub = jax.random.split(key)
    loss, g = jax.value_and_grad(lambda p: jnp.mean((net(p, batch[0], sub) - batch[1]) ** 2))(p)
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
    rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    p = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), p, m, v)
    return (p, m, v, t, key), loss


one = jax.jit(step, donate_argnums=0)
batches = [(jnp.asarray(x[i:i + B]), jnp.asarray(y[i:i + B])) for i in range(0, N, B)]
whole = N // B * B
stacked = (jnp.asarray(x[:whole]).reshape(-1, B, T, F), jnp.asarray(y[:whole]).reshape(-1, B, 1))


@functools.partial(jax.jit, donate_argnums=0)
def epoch(state, batches, rest):
    state, losses = jax.lax.scan(step, state, batches)
    state, last = step(state, rest)
    return state, (losses.sum() * B + last * len(rest[0])) / N


def run(epochs):
    global state
    began = time.perf_counter()
    for _ in range(epochs):
        if how == "scan":
            state, loss = epoch(state, stacked, batches[-1])
        else:
            loss = 0.0
            for batch in batches:
                state, l = one(state, batch)
                loss += l * len(batch[0]) / N
    loss = float(loss)
    return (time.perf_counter() - began) / epochs, loss


began = time.perf_counter()
run(1)
print("first epoch", round((time.perf_counter() - began) * 1e3, 1), "ms")
times = [run(epochs) for _ in range(groups)]
print(f"jax {jax.__version__} {mode} {how} H={H}: min wall {min(t for t, _ in times) * 1e3:.2f} ms/epoch loss {times[-1][1]:.5f}")
