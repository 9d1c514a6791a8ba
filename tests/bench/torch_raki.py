"""The networks of `raki` (docs/quality.md) of many slices at once, in PyTorch: batched products, gradients by hand, fused Adam.

Layers are `[slice, network and feature, input]` and twice `[network, feature or tap and output, feature]`, the networks of all slices in one row.
Positions count column by column of the readout with the line fastest, so that a window of the readout is one range.
"""
import math

import torch

from torch_nwg import mean_over, patches, power

KERNEL_1, KERNEL_3, LINES = 7, 3, 2
HIDDEN_1, HIDDEN_2 = 32, 8
TAPS = [(tap % KERNEL_3, tap // KERNEL_3) for tap in range(KERNEL_3 * LINES)]
MARGIN = (KERNEL_1 + KERNEL_3 - 2) // 2
ITERATIONS = 400
WINDOW, LEAST_COLUMNS = 0.03, 8
PEAK, START_DIVISOR, END_DIVISOR, RISE = 1e-2, 25, 1e4, 0.2
DECAY_1, DECAY_2, EPSILON = (0.95, 0.85), 0.999, 1e-8
DEVIATION = 0.1
# Of the prediction of linear kernels, which networks leave as it is.
PART = 0.75
PACED_INPUTS = 224
SCALED_MAXIMUM = 0.015
BOX = (5, 7)
LEAST_LEVEL = 1e-12
PREDICTED_COLUMNS = 32
WARM_UP = 3


def pace(inputs):
    """What learning rate and initial weights of layer 1 are multiplied by, see `Parameters::pace` of gpu-job."""
    return min(math.sqrt(PACED_INPUTS / inputs), 1)


def passes(columns, width, count, random):
    """The first columns of so many windows that cover the readout pass after pass, see `windows` of gpu-job."""
    starts, windows = [], math.ceil(columns / width)
    while len(starts) < count:
        before = torch.randint(windows * width - columns + 1, (1,), generator=random).item()
        places = torch.arange(windows).mul(width).sub(before).clamp(0, columns - width)
        starts += places[torch.randperm(len(places), generator=random)].tolist()
    return starts[:count]


def window_of(columns):
    """Columns of a training window, of the valid ones of a readout."""
    return min(max(math.ceil(WINDOW * columns), LEAST_COLUMNS), columns)


def planes(kspace, scale):
    """Real planes `[slice, channel, line, kx]` of `[slice, coil, line, kx]`: real parts of all coils, then imaginary ones."""
    return torch.cat((kspace.real, kspace.imag), 1) * scale[:, None, None, None]


def inputs_of(lines, step):
    """Patches `[slice, column and row, input]` of planes."""
    return patches(lines, step, KERNEL_1).permute(0, 5, 4, 1, 2, 3).flatten(3).flatten(1, 2)


def sample_weights(lines, noise, acceleration):
    """What the residual of a sample `[slice, line, kx]` is multiplied by; its mean square is 1 over the targets."""
    count, width = lines.shape[2:]
    smooth = lambda length, extent: mean_over(length, extent, lines.device, mirrored=False)
    of_noise = lines.shape[1] * noise[:, None, None]
    level = smooth(count, BOX[0]) @ (power(lines) @ smooth(width, BOX[1]).mT)
    level = (level - of_noise).clamp(min=0) + of_noise
    squares = 1 / torch.maximum(level, LEAST_LEVEL * level.amax((1, 2), keepdim=True))
    squares /= squares[:, 1:count - acceleration - 1, MARGIN:width - MARGIN].mean((1, 2), keepdim=True)
    return squares.sqrt().float()


def targets_of(lines, acceleration):
    """Targets `[slice, channel, output, column, row]` of `[slice, channel, line, kx]`: the lines between a line and the next of its grid."""
    rows = lines.shape[2] - 2 * acceleration
    between = [lines[:, :, 1 + output:1 + output + rows, MARGIN:-MARGIN] for output in range(acceleration - 1)]
    return torch.stack(between, 2).mT.contiguous()


def left(targets, linear, scale, first, acceleration):
    """`targets` less a part of what linear kernels predict, `[slice, coil, offset of the sources, line, kx]` of the lines from `first` on."""
    slices, coils, offsets, lines, points = linear.shape
    linear = planes(linear.flatten(2, 3), scale).view(slices, 2 * coils, offsets, lines, points)[..., MARGIN:-MARGIN]
    rows = torch.arange(targets.shape[-1], device=targets.device)
    for output, to in enumerate(targets.unbind(2)):
        to -= PART * linear[:, :, (first + rows) % acceleration, rows + 1 + output].mT
    return targets


def schedule(iterations):
    """Rate and decay of the mean of gradients of every step: one cycle of half cosines. torch.optim corrects the mean for its start as if
    the decay had always been what it is now; the rate given here makes up for that."""
    half_cosine = lambda start, end, part: end + (start - end) * 0.5 * (1 + math.cos(math.pi * part))
    top = max(RISE * iterations - 1, 0)
    end = max(iterations - 1, top + 1)
    rest = 1
    for step in range(iterations):
        if step < top:
            rate, decay = (half_cosine(*ends, step / top) for ends in ((PEAK / START_DIVISOR, PEAK), DECAY_1))
        else:
            part = (step - top) / (end - top)
            rate, decay = (half_cosine(*ends, part) for ends in ((PEAK, PEAK / START_DIVISOR / END_DIVISOR), DECAY_1[::-1]))
        rest *= decay
        yield rate * (1 - decay ** (step + 1)) / (1 - rest), decay


def shaped(parts, slices, outputs, rows):
    """Views `[slice, network, tap, output, column, row]` of what layer 3 gives."""
    return parts.view(slices, -1, len(TAPS), outputs, parts.shape[-1] // rows, rows)


def under(parts, tap, step):
    """What a tap adds to the outputs of the valid columns and rows."""
    column, line = TAPS[tap]
    columns, rows = parts.shape[4] - KERNEL_3 + 1, parts.shape[5] - step
    return parts[:, :, tap, :, column:column + columns, line * step:line * step + rows]


def pull(parts, pulled, targets, weights, step):
    """Writes the gradient of the sum of the losses by the `parts` of layer 3 to `pulled`, which is zero elsewhere."""
    residual = under(parts, 0, step) - targets
    for tap in range(1, len(TAPS)):
        residual += under(parts, tap, step)
    residual *= weights
    loss = residual.flatten(2).norm(dim=2).clamp(min=torch.finfo(torch.float32).tiny)
    residual *= weights / loss[:, :, None, None, None]
    for tap in range(len(TAPS)):
        under(pulled, tap, step).copy_(residual)


def through_relu(gradient, features):
    torch.ops.aten.threshold_backward.grad_input(gradient, features, 0, grad_input=gradient)


class Training:
    """Buffers of the training of a group of slices, and its gradient."""

    def __init__(self, lines, targets, weights, acceleration, options):
        """`lines` are planes of the lines learnt from, `weights` those of their samples."""
        self.slices, channels, count, width = lines.shape
        self.step, self.outputs, self.rows = acceleration, acceleration - 1, count - acceleration
        self.patches = inputs_of(lines, acceleration)
        self.targets = targets
        self.weights = targets_of(weights[:, None], acceleration)
        self.columns = width - 2 * MARGIN
        self.window = window_of(self.columns)
        positions, inputs = (self.window + KERNEL_3 - 1) * self.rows, self.patches.shape[2]
        nets, device = self.slices * channels, lines.device
        shapes = ((self.slices, channels * HIDDEN_1, inputs), (nets, HIDDEN_2, HIDDEN_1), (nets, len(TAPS) * self.outputs, HIDDEN_2))
        empty = lambda *shape: torch.empty(shape, device=device)
        self.pace = pace(inputs)
        deviations = (DEVIATION * self.pace, DEVIATION, DEVIATION)
        self.layers = [torch.nn.init.trunc_normal_(empty(*shape), std=deviation, a=-2 * deviation, b=2 * deviation)
                       for shape, deviation in zip(shapes, deviations)]
        for layer in self.layers:
            layer.grad = torch.zeros_like(layer)
        self.hidden_1, self.hidden_2 = empty(self.slices, channels * HIDDEN_1, positions), empty(nets, HIDDEN_2, positions)
        self.pulled_1, self.pulled_2 = empty(nets, HIDDEN_1, positions), empty(nets, HIDDEN_2, positions)
        self.parts = empty(nets, len(TAPS) * self.outputs, positions)
        self.pulled = torch.zeros_like(self.parts)
        self.pull = torch.compile(pull, dynamic=False) if options.compile else pull

    def under_window(self, start):
        """Patches, targets and weights of a window of the readout."""
        patches = self.patches.narrow(1, start * self.rows, (self.window + KERNEL_3 - 1) * self.rows)
        return patches, self.targets.narrow(3, start, self.window), self.weights.narrow(3, start, self.window)

    def gradient(self, patches, targets, weights):
        first, second, third = self.layers
        torch.bmm(first, patches.mT, out=self.hidden_1).relu_()
        features = self.hidden_1.view(self.pulled_1.shape)
        torch.bmm(second, features, out=self.hidden_2).relu_()
        torch.bmm(third, self.hidden_2, out=self.parts)
        parts, pulled = (shaped(tensor, self.slices, self.outputs, self.rows) for tensor in (self.parts, self.pulled))
        self.pull(parts, pulled, targets, weights, self.step)
        torch.bmm(self.pulled, self.hidden_2.mT, out=third.grad)
        through_relu(torch.bmm(third.mT, self.pulled, out=self.pulled_2), self.hidden_2)
        torch.bmm(self.pulled_2, features.mT, out=second.grad)
        through_relu(torch.bmm(second.mT, self.pulled_2, out=self.pulled_1), features)
        torch.bmm(self.pulled_1.view(self.hidden_1.shape), patches, out=first.grad)

    def graphed(self):
        """The gradient as one CUDA graph, whose window is copied to where the graph reads it."""
        held = [tensor.clone() for tensor in self.under_window(0)]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self.gradient(*held)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.gradient(*held)

        def replay(*window):
            for to, tensor in zip(held, window):
                to.copy_(tensor)
            graph.replay()
        return replay

    def run(self, starts, graph):
        """Trains on the windows that begin at `starts`; returns the layers."""
        gradient = self.graphed() if graph else self.gradient
        adam = torch.optim.Adam(self.layers, betas=(DECAY_1[0], DECAY_2), eps=EPSILON, fused=True)
        options = adam.param_groups[0]
        for start, (rate, decay) in zip(starts, schedule(len(starts))):
            gradient(*self.under_window(start))
            options["lr"], options["betas"] = rate * self.pace, (decay, DECAY_2)
            adam.step()
        return self.layers


def train(filled, linear, noise, scale, fill, options, iterations=ITERATIONS):
    """Networks that learn from the region of `filled`, `[slice, coil, ky, kx]`, that `fill` was refitted on, what `linear` leaves of it."""
    (first, end), acceleration = fill.region, fill.acceleration
    learnt = filled[:, :, first:end]
    lines = planes(learnt, scale)
    targets = left(targets_of(lines, acceleration), linear, scale, first, acceleration)
    training = Training(lines, targets, sample_weights(learnt, noise, acceleration), acceleration, options)
    random = torch.Generator().manual_seed(options.seed)
    return training.run(passes(training.columns, training.window, iterations, random), options.graph)


def predict(layers, kspace, filled, scale, fill):
    """`kspace`, `[slice, coil, ky, kx]`, with its missing lines between the first and the last acquired one predicted, beside a part of
    what linear kernels have `filled`."""
    slices, coils, count, points = kspace.shape
    step, offset, mask, device = fill.acceleration, fill.offset, fill.mask, kspace.device
    start, end = ((fill.sampling[name] - offset) // step for name in ("first", "last"))
    # Grid lines, with zeros for those that there are not: two more lie under the last place of the networks.
    grid = torch.tensor([offset + at * step for at in range(start, end + 3)])
    there = ((grid >= 0) & (grid < count)).to(device)
    lines = planes(kspace[:, :, grid.clamp(0, count - 1).to(device)] * there[:, None], scale)
    lines = torch.nn.functional.pad(lines, (MARGIN, MARGIN))
    rows, valid = len(grid) - 1, len(grid) - 2
    outputs = torch.empty(slices, 2 * coils, step - 1, points, valid, device=device)
    for column in range(0, points, PREDICTED_COLUMNS):
        columns = min(PREDICTED_COLUMNS, points - column)
        features = torch.bmm(layers[0], inputs_of(lines[..., column:column + columns + 2 * MARGIN], 1).mT).relu_()
        features = torch.bmm(layers[1], features.view(slices * 2 * coils, HIDDEN_1, -1)).relu_()
        parts = shaped(torch.bmm(layers[2], features), slices, step - 1, rows)
        outputs[:, :, :, column:column + columns] = sum(under(parts, tap, 1) for tap in range(len(TAPS)))
    outputs /= scale[:, None, None, None, None]
    between = torch.complex(outputs[:, :coils], outputs[:, coils:]).permute(0, 1, 4, 2, 3).flatten(2, 3)
    all_lines = [offset + at * step + 1 + output for at in range(start, end + 1) for output in range(step - 1)]
    chosen = [at for at, line in enumerate(all_lines) if fill.sampling["first"] <= line <= fill.sampling["last"] and not mask[line]]
    lines = [all_lines[at] for at in chosen]
    predicted = kspace.clone()
    predicted[:, :, lines] = between[:, :, chosen] + PART * filled[:, :, lines]
    return predicted


def scales(kspace):
    """The factor of each slice that brings its largest sample to the scale of training."""
    return SCALED_MAXIMUM / kspace.abs().amax((1, 2, 3))


def operations(coils, width, fill):
    """Real additions and multiplications of a slice, of the training steps and of the prediction, in units of 10^9."""
    channels, step = 2 * coils, fill.acceleration
    rows = fill.region[1] - fill.region[0] - step
    first, others = HIDDEN_1 * channels * LINES * KERNEL_1, HIDDEN_1 * HIDDEN_2 + HIDDEN_2 * len(TAPS) * (step - 1)
    of_step = channels * (4 * first + 6 * others) * (window_of(width - 2 * MARGIN) + KERNEL_3 - 1) * rows
    grid = (fill.sampling["last"] - fill.offset) // step - (fill.sampling["first"] - fill.offset) // step + 2
    predicted = 2 * channels * (first + others) * (width + KERNEL_3 - 1) * grid
    return (ITERATIONS * of_step + predicted) / 1e9
