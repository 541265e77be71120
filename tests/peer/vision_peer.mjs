// One answer's first token of the peer, npm @fugood/llama.node: log p of each token by what the peer writes for it.
//
// usage: vision_peer.mjs MODEL MMPROJ PROMPT N_CTX OUT IMAGE... "<__media__>" in the prompt is a picture. A process of its
// own, since the peer now and then crashes when it opens a second model.
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const peer = createRequire(import.meta.url)('@fugood/llama.node');
const [path, mmproj, prompt, n_ctx, out, ...images] = process.argv.slice(2);
const model = await peer.loadModel({
    model: path, n_ctx: Number(n_ctx), n_gpu_layers: 0, n_threads: 2, cache_type_k: 'f32', cache_type_v: 'f32',
    flash_attn_type: 'off',
});
await model.initMultimodal({ path: mmproj, use_gpu: false });
const answer = await model.completion({
    prompt, media_paths: images, n_predict: 1, n_probs: 1 << 20, temperature: 1, top_k: 0, top_p: 1, min_p: 0, typ_p: 1,
    penalty_repeat: 1, penalty_freq: 0, penalty_present: 0, dry_multiplier: 0, xtc_probability: 0, seed: 1,
});
writeFileSync(out, JSON.stringify(answer.completion_probabilities[0].probs.map((p) => [p.tok_str, Math.log(p.prob)])));
process.exit();
