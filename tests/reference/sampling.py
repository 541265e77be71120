#!/usr/bin/env python3
"""Distributions of the samplers in float64, from their descriptions: the numbers of tests/unit/llm/test_sampler.c.

Works on probabilities by name, where the program works on a heap of logits. Prints one line a case.
"""
import math

LOGITS = [2.0, 1.5, 0.5, 0.25, -0.5, -1.0, -1.25, -3.0]


def softmax(logits):
    """{token: probability} of {token: logit}."""
    total = sum(math.exp(x) for x in logits.values())
    return {t: math.exp(x) / total for t, x in logits.items()}


def ranked(p):
    return sorted(p, key=lambda t: (-p[t], t))


def nucleus(order, p, limit):
    kept, total = [], 0.0
    for t in order:
        kept.append(t)
        total += p[t]
        if total >= limit:
            break
    return kept


def only(logits, kept):
    return {t: logits[t] for t in kept}


def entropy(p):
    return -sum(x * math.log(x) for x in p.values())


def top_k(logits, k):
    return only(logits, ranked(softmax(logits))[:k])


def top_p(logits, limit):
    p = softmax(logits)
    return only(logits, nucleus(ranked(p), p, limit))


def min_p(logits, share):
    p = softmax(logits)
    return only(logits, [t for t in p if p[t] >= share * max(p.values())])


def typical(logits, limit):
    p = softmax(logits)
    h = entropy(p)
    return only(logits, nucleus(sorted(p, key=lambda t: abs(-math.log(p[t]) - h)), p, limit))


def top_n_sigma(logits, n):
    mean = sum(logits.values()) / len(logits)
    sigma = math.sqrt(sum((x - mean) ** 2 for x in logits.values()) / len(logits))
    return only(logits, [t for t, x in logits.items() if x >= max(logits.values()) - n * sigma])


def xtc(logits, threshold):
    p = softmax(logits)
    above = [t for t in ranked(p) if p[t] >= threshold]
    return only(logits, [t for t in logits if t not in above[:-1]])


def temperature(logits, t):
    return {k: x / t for k, x in logits.items()}


def dynamic(logits, t, spread, exponent):
    share = entropy(softmax(logits)) / math.log(len(logits))
    low, high = max(t - spread, 0), t + spread
    return temperature(logits, low + (high - low) * share ** exponent)


def mirostat_1(logits, tau):
    mu = 2 * tau
    order = ranked(softmax(logits))
    t = [math.log((i + 2) / (i + 1)) for i in range(len(order) - 1)]
    b = [logits[order[i]] - logits[order[i + 1]] for i in range(len(order) - 1)]
    s = sum(x * y for x, y in zip(t, b)) / sum(x * x for x in t)
    epsilon = s - 1
    k = (epsilon * 2**mu / (1 - len(logits) ** -epsilon)) ** (1 / s)
    return top_k(logits, max(1, int(k)))


def mirostat_2(logits, tau):
    p = softmax(logits)
    return only(logits, [t for t in p if -math.log2(p[t]) <= 2 * tau] or ranked(p)[:1])


PROMPT = [0, 1, 1, 5, 0, 2, 6, 0]  # ids of a prompt; an image may stand between them
CHOSEN = [2]


def penalties(logits, history, last_n, repeat, presence, frequency):
    recent = history[-last_n:]
    out = {}
    for t, x in logits.items():
        n = recent.count(t)
        if n:
            x = (x / repeat if x > 0 else x * repeat) - n * frequency - presence
        out[t] = x
    return out


def dry(logits, history, multiplier, base, allowed):
    """By looking: the longest end of the history that has been followed by t before."""
    out = {}
    for t, x in logits.items():
        longest = 0
        for i, h in enumerate(history):
            if h == t:
                n = 0
                while n < i and history[i - 1 - n] == history[len(history) - 1 - n]:
                    n += 1
                longest = max(longest, n)
        out[t] = x - (multiplier * base ** (longest - allowed) if longest >= allowed else 0)
    return out


CASES = {
    "temperature 0.7": lambda l: temperature(l, 0.7),
    "dynamic 1 +- 0.75, exponent 1": lambda l: dynamic(l, 1, 0.75, 1),
    "dynamic 0.5 +- 1, exponent 2": lambda l: dynamic(l, 0.5, 1, 2),
    "typical 0.5": lambda l: typical(l, 0.5),
    "typical 0.2": lambda l: typical(l, 0.2),
    "top-n-sigma 1": lambda l: top_n_sigma(l, 1),
    "top-n-sigma 0.5": lambda l: top_n_sigma(l, 0.5),
    "xtc 0.1": lambda l: xtc(l, 0.1),
    "xtc 0.3": lambda l: xtc(l, 0.3),
    "top-p 0.8 then top-k 2": lambda l: top_k(top_p(l, 0.8), 2),
    "temperature 3 then min-p 0.4": lambda l: min_p(temperature(l, 3), 0.4),
    "xtc 0.1 then top-k 2": lambda l: top_k(xtc(l, 0.1), 2),
    "mirostat 1, tau 1": lambda l: mirostat_1(l, 1),
    "mirostat 2, tau 1": lambda l: mirostat_2(l, 1),
    "mirostat 2, tau 0.2": lambda l: mirostat_2(l, 0.2),
    "penalties of the prompt": lambda l: penalties(l, PROMPT, 64, 1.3, 0.25, 0.5),
    "of its last 4": lambda l: penalties(l, PROMPT, 4, 1.3, 0.25, 0.5),
    "of its last 3 and a choice": lambda l: penalties(l, PROMPT + CHOSEN, 4, 1.3, 0.25, 0.5),
    "DRY of the prompt": lambda l: dry(l, PROMPT, 0.75, 2, 1),
    "DRY of the prompt and a choice": lambda l: dry(l, PROMPT + CHOSEN, 0.75, 2, 1),
}

if __name__ == "__main__":
    logits = dict(enumerate(LOGITS))
    for name, chain in CASES.items():
        p = softmax(chain(logits))
        print(f"{name:32}", ", ".join(f"{p.get(t, 0):.5f}" for t in logits))
    print("log p", ", ".join(f"{math.log(x):.6f}" for x in softmax(logits).values()))
