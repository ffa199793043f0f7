"""Forecasts from stored models with PyTorch alone.

Reads a JSON file with the columns of a series and the directories of bundles, and prints for each
bundle the price forecast from the series' last row.
"""
import json
import math
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

series = json.loads(Path(sys.argv[1]).read_text())


def read_safetensors(path):
    """The format is an eight-byte length, a JSON header, and the numbers."""
    raw = path.read_bytes()
    end = 8 + int.from_bytes(raw[:8], 'little')
    tensors = {}
    for name, entry in json.loads(raw[8:end]).items():
        if name != '__metadata__':
            a, b = entry['data_offsets']
            numbers = torch.frombuffer(bytearray(raw[end + a:end + b]), dtype=torch.float32)
            tensors[name] = numbers.reshape(entry['shape'])
    return tensors


def convolution(outputs, kernel, channels, dilation=1, padding=0, bias=True):
    shape = (kernel, channels)
    return nn.Conv2d(1, outputs, shape, dilation=(dilation, 1), padding=(padding, 0), bias=bias)


def forecast(bundle):
    model = json.loads((bundle / 'forecaster.json').read_text())['model']
    weights = read_safetensors(bundle / 'weights.safetensors')
    network, steps = model['network'], model['config']['timesteps']
    features = model['preprocessor']['features']
    width = len(features)
    act = torch.relu if network.get('activation') == 'relu' else torch.tanh

    def column(feature):
        x = torch.tensor(series[feature['name']], dtype=torch.float64)
        assert feature['transform']['type'] == 'log_difference', feature
        x = x.log().diff()[-steps:]
        x = (x - feature['scaler']['offset']) / feature['scaler']['scale']
        return x.clamp(-model['preprocessor']['clip'], model['preprocessor']['clip']).float()

    class Net(nn.Module):
        """Layers under the names of the bundle, so that loading is strict."""

        def __init__(self):
            super().__init__()
            kind, n = network['type'], network
            head = lambda inputs: nn.Linear(inputs, 1)
            lstm = lambda inputs, units: nn.LSTM(inputs, units, batch_first=True)
            if kind in ('LSTM', 'Attention'):
                self.lstm, self.head = lstm(width, n['units']), head(n['units'])
            elif kind == 'GRU':
                self.gru, self.head = nn.GRU(width, n['units'], batch_first=True), head(n['units'])
            elif kind == 'CNN':
                kernel = min(n['kernel'], steps)
                self.conv = convolution(n['filters'], kernel, width)
                self.head = head((steps - kernel + 1) * n['filters'])
            elif kind == 'CNNLSTM':
                self.conv = nn.Linear(width, n['filters'])
                self.lstm = lstm(steps // 2 * n['filters'], n['units'])
                self.head = head(n['units'])
            elif kind == 'LSTMEncoderDecoder':
                self.encoder, self.decoder = lstm(width, n['units']), lstm(n['units'], n['units'])
                self.head = head(steps * n['units'])
            elif kind == 'TCN':
                self.blocks, channels, seen, dilation = nn.ModuleList(), width, 1, 1
                while not len(self.blocks) or seen < steps:
                    block = nn.Module()
                    block.conv1 = convolution(n['filters'], n['kernel'], channels, dilation)
                    block.conv2 = convolution(n['filters'], n['kernel'], n['filters'], dilation)
                    if channels != n['filters']:
                        block.residual = nn.Linear(channels, n['filters'])
                    self.blocks.append(block)
                    channels, seen, dilation = n['filters'], seen + 2 * (n['kernel'] - 1) * dilation, 2 * dilation
                self.head = head(n['filters'])
            elif kind == 'ConvLSTM2D':
                self.conv = nn.Module()
                pad = n['kernel'] // 2
                self.conv.input = convolution(4 * n['filters'], n['kernel'], 1, padding=pad)
                self.conv.hidden = convolution(4 * n['filters'], n['kernel'], n['filters'], padding=pad, bias=False)
                self.lstm = lstm(steps * width * n['filters'], n['units'])
                self.dense, self.head = nn.Linear(n['units'], n['units']), head(n['units'])
            elif kind == 'NLinear':
                self.window, self.last = head(steps * width), head(width)
            elif kind == 'DLinear':
                self.trend, self.rest = head(steps * width), head(steps * width)
            elif kind == 'PatchTST':
                self.patch, w = min(n['patch'], steps), n['width']
                self.before = -(steps - self.patch) % n['stride']
                patches = (steps + self.before - self.patch) // n['stride'] + 1
                self.embed, self.position = nn.Linear(self.patch * width, w), nn.Parameter(torch.zeros(patches, w))
                self.layers = nn.ModuleList()
                for _ in range(n['layers']):
                    layer = nn.Module()
                    layer.norm1, layer.norm2 = nn.LayerNorm(w), nn.LayerNorm(w)
                    layer.qkv, layer.project = nn.Linear(w, 3 * w), nn.Linear(w, w)
                    layer.expand, layer.contract = nn.Linear(w, 2 * w), nn.Linear(2 * w, w)
                    self.layers.append(layer)
                self.norm, self.head = nn.LayerNorm(w), head(patches * w)
            else:
                raise SystemExit(f'no network called {kind}')

        def forward(self, x):
            kind, n = network['type'], network
            leaky = lambda x: F.leaky_relu(x, n['negative_slope'])
            if kind == 'LSTM':
                return self.head(leaky(self.lstm(x)[0][:, -1]))
            if kind == 'GRU':
                return self.head(leaky(self.gru(x)[0][:, -1]))
            if kind == 'Attention':
                h = leaky(self.lstm(x)[0])
                return self.head(F.scaled_dot_product_attention(h, h, h).mean(1))
            if kind == 'CNN':
                return self.head(act(self.conv(x[:, None])[..., 0]).transpose(1, 2).flatten(1))
            if kind == 'CNNLSTM':
                pooled = F.max_pool1d(act(self.conv(x)).transpose(1, 2), 2).transpose(1, 2)
                return self.head(self.lstm(pooled.flatten(1)[:, None])[0][:, -1])
            if kind == 'LSTMEncoderDecoder':
                code = self.encoder(x)[0][:, -1:].expand(-1, steps, -1)
                return self.head(self.decoder(code)[0].flatten(1))
            if kind == 'TCN':
                for at, block in enumerate(self.blocks):
                    y = x
                    for conv in (block.conv1, block.conv2):
                        y = F.pad(y, (0, 0, (n['kernel'] - 1) * 2 ** at, 0))
                        y = act(conv(y[:, None])[..., 0]).transpose(1, 2)
                    x = act((block.residual(x) if hasattr(block, 'residual') else x) + y)
                return self.head(x[:, -1])
            if kind == 'ConvLSTM2D':
                conv = lambda layer, x: layer(x[:, None])[..., 0].transpose(1, 2)
                h = c = torch.zeros(1, width, n['filters'])
                states = []
                for t in range(steps):
                    gates = conv(self.conv.input, x[:, t, :, None])
                    if t > 0:
                        gates = gates + conv(self.conv.hidden, h)
                    i, f, g, o = gates.chunk(4, -1)
                    c = i.sigmoid() * act(g) + f.sigmoid() * c
                    h = o.sigmoid() * act(c)
                    states.append(h)
                code = self.lstm(torch.stack(states, 1).flatten(1)[:, None])[0][:, -1]
                return self.head(self.dense(code))
            if kind == 'NLinear':
                return self.window((x - x[:, -1:]).flatten(1)) + self.last(x[:, -1])
            if kind == 'PatchTST':
                padded = F.pad(x, (0, 0, self.before, 0))
                # (batch, patches, channels, steps of a patch) to the steps of a patch one by one.
                h = padded.unfold(1, self.patch, n['stride']).transpose(2, 3).flatten(2)
                h = self.embed(h) + self.position
                for layer in self.layers:
                    heads = lambda y: y.unflatten(-1, (n['heads'], -1)).transpose(1, 2)
                    q, k, v = map(heads, layer.qkv(layer.norm1(h)).chunk(3, -1))
                    h = h + layer.project(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
                    h = h + layer.contract(torch.relu(layer.expand(layer.norm2(h))))
                return self.head(self.norm(h).flatten(1))
            span = n['moving_average']
            padded = torch.cat([x[:, :1]] * (span // 2) + [x] + [x[:, -1:]] * (span // 2), 1)
            trend = padded.unfold(1, span, 1).mean(-1)
            return self.trend(trend.flatten(1)) + self.rest((x - trend).flatten(1))

    net = Net()
    net.load_state_dict(weights, strict=True)
    net.eval()
    with torch.no_grad():
        output = net(torch.stack([column(f) for f in features], 1)[None]).item()
    target = model['target']
    assert target['target'] == 'log-return', target
    value = output * target['scaler']['scale'] + target['scaler']['offset']
    return series[model['price']][-1] * math.exp(value)


for bundle in sys.argv[2:]:
    print(forecast(Path(bundle)))
