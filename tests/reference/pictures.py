"""float64 logits of a language model behind a prompt of ids and rows of pictures, for tests/chat_images.py.

Positions as Hugging Face's get_rope_index (Qwen2-VL, Qwen3-VL): a row of a picture stands at (first, first + line, first +
column), what follows at the greatest position so far and one. Pairs of a head turn by the axis of their section, one
section after the other, or interleaved (Qwen3-VL, apply_interleaved_mrope). Rows of Qwen3-VL hold, behind the embedding,
what is added behind each of the first layers (_deepstack_process).
"""
import families
import numpy as np


class Model(families.Model):
    """c, weights: as in families.py; pictures: [(rows [n, width], columns of the grid or None)]; ids: None for each row."""

    def __init__(self, c, weights, ids, pictures, both_ways):
        super().__init__(c, {name: (0, b"", v) for name, v in weights.items()})
        self.ids = ids
        self.rows = np.concatenate([rows for rows, _ in pictures])
        starts = [i for i, id in enumerate(ids) if id is None and (i == 0 or ids[i - 1] is not None)]
        self.places = np.zeros((len(ids), 3))
        at, grids = 0, iter(columns for _, columns in pictures)
        i = 0
        while i < len(ids):
            columns = next(grids) if i in starts and c.get("sections") else None
            n = next((k for k in range(i, len(ids)) if ids[k] is not None), len(ids)) - i if columns else 1
            line, column = np.divmod(np.arange(n), columns or 1)
            self.places[i:i + n] = np.stack([np.full(n, at), at + line, at + column], -1)
            at += max(line.max(), column.max()) + 1
            i += n
        if both_ways:
            ends = [next(k for k in range(i, len(ids)) if ids[k] is not None) for i in starts]
            self.images = [slice(*run) for run in zip(starts, ends)]

    def angles(self, rows, freqs):
        sections = self.c.get("sections")
        if not sections:
            return super().angles(rows, freqs)
        pair = np.arange(len(freqs))
        axis = np.repeat(np.arange(3), sections[:3])
        if self.c["arch"].startswith("qwen3"):
            axis = np.where((pair % 3 > 0) & (pair < 3 * np.array(sections)[pair % 3]), pair % 3, 0)
        return self.places[:, axis] * freqs

    def behind(self, x, layer):
        n = self.c["n_embd"]
        if (layer + 2) * n <= self.rows.shape[1]:
            x[[id is None for id in self.ids]] += self.rows[:, (layer + 1) * n:(layer + 2) * n]
        return x

    def last(self):
        """[n_vocab] logits behind the prompt"""
        c, x = self.c, np.zeros((len(self.ids), self.c["n_embd"]))
        scale = c["n_embd"] ** 0.5 if c.get("sqrt") else c.get("embed", 1)
        is_row = np.array([id is None for id in self.ids])
        x[~is_row] = self.t["token_embd.weight"][[id for id in self.ids if id is not None]] * scale
        x[is_row] = self.rows[:, :c["n_embd"]]
        return self.logits_of(x)[-1]
