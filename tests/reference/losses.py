"""Slow, obvious versions of the training losses, one pair at a time, from the formulas of the papers."""

import math


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def info_nce(anchors, candidates, positive, negative, temperature, average_positives=False):
    total = 0.0
    for i, anchor in enumerate(anchors):
        losses = []
        for j, candidate in enumerate(candidates):
            if positive[i][j]:
                own = math.exp(dot(anchor, candidate) / temperature)
                others = sum(
                    math.exp(dot(anchor, other) / temperature)
                    for k, other in enumerate(candidates)
                    if negative[i][k]
                )
                losses.append(-math.log(own / (own + others + 1e-6)))
        if losses:
            total += sum(losses) / (len(losses) if average_positives else 1)
    return total / len(anchors)


def entropy(anchors, candidates, negative):
    total = 0.0
    for i, anchor in enumerate(anchors):
        nearest = max(dot(anchor, other) for k, other in enumerate(candidates) if negative[i][k])
        total += math.log(math.sqrt(max(2 - 2 * nearest, 1e-6)))
    return -total / len(anchors)


def lars_steps(weight, gradients, lr, momentum, decay, trust=0.001, eps=1e-8):
    """Weights after a list of gradients, by the LARS rule on plain lists."""
    velocity = None
    for gradient in gradients:
        norm = math.sqrt(sum(w * w for w in weight))
        gradient_norm = math.sqrt(sum(g * g for g in gradient))
        if decay and norm and gradient_norm:  # with no decay lightning-bolts, as published, does not scale
            local = trust * norm / (gradient_norm + decay * norm + eps)
            gradient = [local * (g + decay * w) for g, w in zip(gradient, weight, strict=True)]
        if velocity is None:
            velocity = list(gradient)
        else:
            velocity = [momentum * v + g for v, g in zip(velocity, gradient, strict=True)]
        weight = [w - lr * v for w, v in zip(weight, velocity, strict=True)]
    return weight


def softmax(scores):
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    return [weight / sum(weights) for weight in weights]


def similarity_distillation(student, teacher, dictionary, temperature):
    """Cross entropy of softmax(t D' / tau) and softmax(s D' / tau), mean over the views."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        wanted = softmax([dot(t, key) / temperature for key in dictionary])
        found = softmax([dot(s, key) / temperature for key in dictionary])
        total -= sum(p * math.log(q) for p, q in zip(wanted, found, strict=True))
    return total / len(student)


def relational_distillation(student, teacher, queue, temperature):
    """KL(teacher || student) of the same two distributions, mean over the views."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        wanted = softmax([dot(t, key) / temperature for key in queue])
        found = softmax([dot(s, key) / temperature for key in queue])
        total += sum(p * math.log(p / q) for p, q in zip(wanted, found, strict=True))
    return total / len(student)


def momentum_contrast(queries, keys, queue, temperature):
    """-log of the share that a query's own key has among key and queue, mean over the queries."""
    total = 0.0
    for query, key in zip(queries, keys, strict=True):
        scores = [dot(query, key) / temperature] + [dot(query, row) / temperature for row in queue]
        total -= math.log(softmax(scores)[0])
    return total / len(queries)


def hard_negative(queries, queue):
    """-log max(1 - largest similarity with the queue, 1e-3), mean over the queries."""
    total = 0.0
    for query in queries:
        total -= math.log(max(1 - max(dot(query, row) for row in queue), 1e-3))
    return total / len(queries)


def bank_cross_entropy(descriptors, own, others, foreign, temperature):
    """-log of the share that an image's own row has among it and the rows of other images."""
    total = 0.0
    for i, descriptor in enumerate(descriptors):
        scores = [dot(descriptor, own[i]) / temperature]
        scores += [dot(descriptor, row) / temperature for k, row in enumerate(others) if foreign[i][k]]
        total -= math.log(softmax(scores)[0])
    return total / len(descriptors)


def cell_of(view, row, column, cells):
    """Cell of the stored image that a pixel shows, None for nothing; a view is [x rows, y rows]."""
    x, y = view[0][row][column], view[1][row][column]
    if math.isnan(x) or math.isnan(y):
        return None
    return min(int((y + 1) / 2 * cells), cells - 1), min(int((x + 1) / 2 * cells), cells - 1)


def overlap_weights(first, second, grid, cells, gamma):
    """Weights of patches by the pixels that show the same cells, one pixel at a time."""
    size = len(first[0])
    patch = size // grid
    places = [(row, column) for row in range(size) for column in range(size)]
    there = {}
    for row, column in places:
        number = (row // patch) * grid + column // patch
        there.setdefault(cell_of(second, row, column, cells), []).append(number)
    overlap = [[0.0] * grid**2 for _ in range(grid**2)]
    for row, column in places:
        where = cell_of(first, row, column, cells)
        others = there.get(where, []) if where is not None else []
        for other in others:
            overlap[(row // patch) * grid + column // patch][other] += 1 / len(others) / patch**2
    weights = []
    for shares in overlap:
        total = sum(value**gamma for value in shares) + max(1 - sum(shares), 0) ** gamma
        weights.append([value**gamma / total for value in shares])
    return weights


def copy_nce(queries, references, weights, scale):
    """Weighted cross entropy of one pair of views, mean over the query's patches."""
    total = 0.0
    for query, row in zip(queries, weights, strict=True):
        found = softmax([scale * dot(query, reference) for reference in references])
        total -= sum(weight * math.log(share) for weight, share in zip(row, found, strict=True))
    return total / len(queries)


def margin_cross_entropy(features, classes, labels, scale, margin):
    """-log of the share of the own class among scaled cosines, the own one less the margin; mean."""
    total = 0.0
    for feature, label in zip(features, labels, strict=True):
        cosines = [dot(feature, row) / math.sqrt(dot(row, row)) for row in classes]
        cosines[label] -= margin
        total -= math.log(softmax([scale * cosine for cosine in cosines])[label])
    return total / len(features)


def distance(first, second):
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(first, second, strict=True)))


def nearest_negative(rows, images):
    """Squared distance to the nearest row of another image, mean over the rows that have one."""
    found = [
        min(distance(row, other) ** 2 for k, other in enumerate(rows) if images[k] != images[i])
        for i, row in enumerate(rows)
        if len(set(images)) > 1
    ]
    return sum(found) / len(found) if found else 0.0


class CrossBatchMemory:
    """Contrast with a memory of the last rows, the batch among them; one pair at a time."""

    def __init__(self, rows, positive_margin, negative_margin):
        self.rows, self.margins, self.memory = rows, (positive_margin, negative_margin), []

    def step(self, anchors, images):
        self.memory = [*self.memory, *zip(anchors, images, strict=True)][-self.rows :]
        pulled, pushed = [], []
        for anchor, image in zip(anchors, images, strict=True):
            for row, shown in self.memory:
                if row is anchor:
                    continue
                apart = distance(anchor, row)
                if shown == image:
                    pulled.append(max(apart - self.margins[0], 0))
                else:
                    pushed.append(max(self.margins[1] - apart, 0))
        return [sum(terms) / max(1, sum(term > 0 for term in terms)) for terms in (pulled, pushed)]
