#!/usr/bin/env python3
"""The command line from outside: exit codes, one-line errors, JSON, pipes, Ctrl-C.

usage: cli.py OCELLUS
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
MODEL = os.path.join(ROOT, "samples/demo/demo-llm-f16.gguf")
MMPROJ = os.path.join(ROOT, "samples/demo/demo-mmproj-f16.gguf")
PICTURE = os.path.join(ROOT, "samples/demo/samples/red-cross.png")
TIMEOUT_S = 120
# Near-uniform choice among 1536 tokens: the end token hardly ever comes, so the answer is long.
RAMBLE = ["--temperature", "100", "--top-k", "0", "--top-p", "1", "--min-p", "0"]

ocellus = ""


def run(*arguments, **more):
    environment = {**os.environ, **more.pop("env", {})}
    return subprocess.run([ocellus, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, **more)


class Usage(unittest.TestCase):
    def refused(self, code, word, *arguments, **more):
        done = run(*arguments, **more)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertTrue(done.stderr.startswith("ocellus: "), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn(word, done.stderr)

    def test_template(self):
        with tempfile.TemporaryDirectory() as folder:
            template, case = os.path.join(folder, "t.jinja"), os.path.join(folder, "case.json")
            with open(template, "w", encoding="utf-8") as f:
                f.write("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{{ strftime_now('%d') }}")
            with open(case, "w", encoding="utf-8") as f:
                json.dump({"messages": [{"role": "user", "content": "é"}]}, f)
            arguments = ["inspect", "template", "--input", case]
            done = run(*arguments, "--template", template, "--now", "2026-01-15T12:00")
            self.assertEqual((done.returncode, done.stdout), (0, "user: é\n15"))
            self.refused(2, "--now", *arguments, "--template", template, "--now", "today")
            self.refused(2, "-m FILE is missing", *arguments)
            with open(template, "w", encoding="utf-8") as f:
                f.write("a\n{{ messages.x.y }}")
            self.refused(3, "line 2: 'list object' has no attribute 'x'", *arguments, "--template", template)
            done = run(*arguments, "-m", MODEL)
            self.assertIn("é", done.stdout, done.stderr)

    def test_embedding(self):
        command = ["inspect", "embedding", "-m", MODEL]

        def embed(*arguments):
            done = run(*command, *arguments)
            self.assertEqual(done.returncode, 0, done.stderr)
            return json.loads(done.stdout)

        def length(x):
            return sum(v * v for v in x) ** 0.5

        mean, plain = embed("--text", "a red cross"), embed("--text", "a red cross", "--no-normalise")
        self.assertEqual(mean["pooling"], "mean")
        self.assertAlmostEqual(length(mean["embedding"]), 1, places=5)
        for a, b in zip(mean["embedding"], plain["embedding"]):
            self.assertAlmostEqual(a * length(plain["embedding"]), b, places=4)
        # One row: each pooling is that row. cls of a longer text is its first row, which sees nothing behind it.
        first = embed("--text", "a red cross", "--pooling", "cls")
        self.assertEqual(first["embedding"], embed("--text", "blue", "--pooling", "cls")["embedding"])
        last = embed("--text", "a red cross", "--pooling", "last")
        self.assertNotEqual(last["embedding"], embed("--text", "a red ring", "--pooling", "last")["embedding"])
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "text")
            with open(path, "w", encoding="utf-8") as f:
                f.write("a red cross")
            self.assertEqual(embed("--file", path), mean)
            with open(path, "w", encoding="utf-8") as f:
                f.write("red " * 700) # more than a step holds
            self.assertGreater(embed("--file", path, "-c", "4096")["n_tokens"], 512)
            self.refused(1, "the context holds", *command, "--file", path, "-c", "16")
        self.refused(2, "either --text or --file", *command)
        self.refused(2, "mean|cls|last", *command, "--text", "a", "--pooling", "max")

    def test_shortened_model(self):
        """A model file cut short while it is in use: named, and the exit code of a bad model."""
        with tempfile.TemporaryDirectory() as folder:
            model, text = os.path.join(folder, "model.gguf"), os.path.join(folder, "text")
            shutil.copy(MODEL, model)
            os.mkfifo(text)
            with subprocess.Popen([ocellus, "inspect", "embedding", "-m", model, "--file", text],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
                with open(text, "w", encoding="utf-8") as f: # opened by the other side once the model is
                    os.truncate(model, 4096)
                    f.write("a red cross")
                stdout, stderr = child.communicate(timeout=TIMEOUT_S)
            self.assertEqual((child.returncode, stdout), (3, ""))
            self.assertRegex(stderr, r"^ocellus: .*model\.gguf: was shortened[^\n]*\n$")

    def test_memory(self):
        """What all answers together need is checked, and told."""
        self.refused(2, "256 of them 393216 MiB", "serve", "-m", MODEL, "-c", "262144", "--parallel", "256",
                     "--kv-type", "f32", "--static", os.path.join(ROOT, "static"))

    def test_chat_template(self):
        def input_tokens(*arguments):
            done = run("run", "--json", "-n", "1", *arguments, "Hello")
            self.assertEqual(done.returncode, 0, done.stderr)
            return json.loads(done.stdout)["usage"]["input_tokens"]

        def fails(word, *arguments):
            done = run("run", *arguments, "Hello, you")
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("ocellus: " + word, done.stderr)

        with tempfile.TemporaryDirectory() as folder:
            template = os.path.join(folder, "t.jinja")
            choice = "--chat-template", template
            with open(template, "w", encoding="utf-8") as f:
                f.write("{{ messages[-1].content }}")
            self.assertEqual(input_tokens(*choice), 2)  # <s> Hello
            self.assertEqual(input_tokens("--chat-template", "vicuna", "--system", ""), 4)  # <s> USER: Hello ASSISTANT:
            self.assertEqual(input_tokens(), 16)  # the model's own
            with open(template, "w", encoding="utf-8") as f:
                f.write("{{ messages[-1].content.split('\\n')[-1] }}")
            fails("the chat template leaves out 1 of 1 images", *choice, "--image", PICTURE)
            with open(template, "w", encoding="utf-8") as f:
                f.write("{{ messages[-1].content }}{% if 'you' in messages[-1].content %}\n{{ raise_exception('no, no') }}{% endif %}")
            fails("chat template: line 2: no, no", *choice)
            with open(template, "w", encoding="utf-8") as f:
                f.write("a\n{% for %}")
            self.refused(2, "t.jinja: line 2: ", "run", *choice, "Hello")
        self.refused(2, "built in: chatml", "run", "--chat-template", "nonsense", "Hello")

    def test_usage_errors(self):
        self.refused(2, "nonsense", "nonsense")
        self.refused(2, "inspect nonsense", "inspect", "nonsense")
        self.refused(2, "--nonsense", "serve", "--nonsense")
        self.refused(2, "70000", "serve", "--port", "70000")
        self.refused(2, "8080x", "serve", "--port=8080x")
        self.refused(2, "-c", "serve", "-c")
        self.refused(2, "auto|low|high", "run", "--detail", "huge", "hello")
        self.refused(2, "f16|f32|q8_0", "run", "--kv-type", "q9", "hello")
        self.refused(2, "f32|int8", "run", "--vision-precision", "f16", "hello")
        self.refused(2, "QUESTION", "run")
        self.refused(2, "--json", "run", "--json=yes", "hello")
        self.refused(2, "OCELLUS_PORT", "serve", env={"OCELLUS_PORT": "many"})
        self.refused(2, "--tokens", "inspect", "logits", "-m", MODEL, "--tokens", "1,,2")
        self.refused(2, "--text", "inspect", "logits", "-m", MODEL)
        self.refused(2, "--text", "inspect", "logits", "-m", MODEL, "--tokens", "1", "--text", "hello")
        self.refused(2, "1536", "inspect", "detok", "-m", MODEL, "--ids", "1536")
        self.refused(2, "--mmproj", "run", "--mmproj", MMPROJ, "hello")
        self.refused(2, "no tensor named", "inspect", "tensor", MODEL, "blk.99.attn_q.weight")

    def test_sampling_options(self):
        for word, *arguments in (
                ("\"foo\" is not one of", "--samplers", "top_k;foo"),
                ("--logit-bias", "--logit-bias", "5"),
                ("--logit-bias", "--logit-bias", "x+1"),
                ("0 to 2", "--mirostat", "3"),
                ("-1 to", "--dry-penalty-last-n", "-2"),
                ("-2 to 2", "--presence-penalty", "-2.5"),
                ("--temp", "--temp", "warm")):
            self.refused(2, word, "run", *arguments, "hello")
        self.refused(2, "--samplers", "serve", "--samplers", "foo")
        self.refused(2, "--json-schema", "run", "--grammar", "root ::= x", "--json-schema", "{}", "hello")
        self.refused(2, "line 1", "run", "--grammar", "root ::= x", "hello")
        self.refused(2, "not supported", "run", "--json-schema", "{\"not\": {}}", "hello")
        done = run("run", "--temp", "0", "--json-schema", "{\"enum\": [\"red\", \"blue\"]}", "hello")
        self.assertIn(done.stdout, ("\"red\"\n", "\"blue\"\n"), done.stderr)
        done = run("run", "--temp", "0", "--json-schema", "{\"const\": 1234}", "--stop", "3", "hello")
        self.assertEqual(done.stdout, "12\n", done.stderr)

    def test_files(self):
        self.refused(3, "nowhere.gguf", "run", "-m", "nowhere.gguf", "hello")
        self.refused(3, "run", "run", "-m", os.path.join(ROOT, "run"), "hello")
        self.refused(1, "nowhere.png", "run", "--image", "nowhere.png", "hello")
        self.refused(1, "", "run", "--image", os.path.join(ROOT, "run"), "hello")

    def test_help(self):
        self.assertRegex(run("--version").stdout, r"^ocellus \d+\.\d+\.\d+\n$")
        commands = run("--help")
        self.assertEqual(commands.returncode, 0)
        for verb in ("serve", "run", "bench", "inspect logits", "inspect embedding"):
            self.assertIn(verb, commands.stdout)
            words = verb.split()
            self.assertEqual(run("help", *words).stdout, run(*words, "--help").stdout)
        self.assertIn("--port N", run("serve", "--help").stdout)
        self.assertEqual(run().returncode, 2)


class Run(unittest.TestCase):
    def test_answer(self):
        plain = run("run", "--temperature", "0", "-i", PICTURE, "What shape is it?")
        self.assertEqual(plain.returncode, 0, plain.stderr)
        self.assertIn("cross", plain.stdout)
        self.assertEqual(plain.stderr, "")
        done = run("run", "--json", "--stats", "--temperature", "0", "-i", PICTURE, "What shape is it?")
        answer = json.loads(done.stdout)
        self.assertEqual(answer["answer"] + "\n", plain.stdout)
        self.assertEqual(answer["finish"], "completed")
        self.assertEqual(answer["usage"]["image_tokens"], 64)
        self.assertEqual(answer["stats"]["images_encoded"], 1)
        self.assertIn("tokens/s", done.stderr)

    def test_max_tokens_and_seed(self):
        arguments = ["run", "--json", "-n", "5", "--seed", "7", *RAMBLE, "hello"]
        first, second = json.loads(run(*arguments).stdout), json.loads(run(*arguments).stdout)
        self.assertEqual(first["answer"], second["answer"])
        self.assertEqual(first["usage"]["output_tokens"], 5)
        self.assertEqual(first["finish"], "incomplete")

    def test_interrupt(self):
        process = subprocess.Popen([ocellus, "run", "--seed", "3", *RAMBLE, "hello"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.assertNotEqual(process.stdout.read(1), b"")
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        _, stderr = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 130, stderr)
        self.assertEqual(stderr, b"ocellus: interrupted\n")
        limit_s = 10 if os.environ.get("OCELLUS_SANITIZE") else 1
        self.assertLess(time.monotonic() - sent, limit_s)

    def test_full_disk(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([ocellus, "inspect", "gguf", MODEL], stdout=full, stderr=subprocess.PIPE, timeout=TIMEOUT_S)
        self.assertEqual(done.returncode, 1, done.stderr)


class Inspect(unittest.TestCase):
    def test_gguf(self):
        description = json.loads(run("inspect", "gguf", MODEL).stdout)
        self.assertEqual(description["version"], 3)
        self.assertEqual(description["metadata"]["general.architecture"], "llama")
        self.assertEqual(description["metadata"]["tokenizer.ggml.tokens"]["n"], 1536)
        tensors = {tensor["name"]: tensor for tensor in description["tensors"]}
        self.assertEqual(tensors["token_embd.weight"]["shape"], [1536, 256])
        self.assertEqual(tensors["token_embd.weight"]["type"].lower(), "f16")
        self.assertEqual(tensors["token_embd.weight"]["size_bytes"], 1536 * 256 * 2)
        full = json.loads(run("inspect", "gguf", "--full", MODEL).stdout)
        self.assertEqual(len(full["metadata"]["tokenizer.ggml.tokens"]), 1536)

    def test_tokens(self):
        text = " A red cross, \u00fcber 12\n\u2603 </s>"
        ids = json.loads(run("inspect", "tokens", "-m", MODEL, "--no-bos", "--text", text).stdout)["ids"]
        with_bos = json.loads(run("inspect", "tokens", "-m", MODEL, "--bos", "--text", text).stdout)["ids"]
        self.assertEqual(with_bos, [1] + ids)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            from_file = run("inspect", "tokens", "-m", MODEL, "--no-bos", "--file", f.name)
        self.assertEqual(json.loads(from_file.stdout)["ids"], ids)
        back = run("inspect", "detok", "-m", MODEL, "--ids", ",".join(map(str, ids)))
        self.assertEqual(back.stdout.lstrip(" "), text.lstrip(" "))
        self.assertNotIn(2, ids)
        special = run("inspect", "tokens", "-m", MODEL, "--special", "--text", text)
        self.assertIn(2, json.loads(special.stdout)["ids"])

    def test_image(self):
        rgb = json.loads(run("inspect", "image", "--image", PICTURE, "--stage", "rgb").stdout)
        self.assertEqual(len(rgb["shape"]), 3)
        self.assertEqual(rgb["shape"][2], 3)
        arguments = ["inspect", "image", "--mmproj", MMPROJ, "--image", PICTURE, "--stage"]
        pixels = json.loads(run(*arguments, "pixels").stdout)
        self.assertEqual(pixels["shape"], [1, 3, 112, 112])
        rows = json.loads(run(*arguments, "rows").stdout)
        self.assertEqual(rows["shape"], [64, 256])
        self.assertEqual(json.loads(run(*arguments, "features").stdout)["shape"], [64, 192])
        with tempfile.NamedTemporaryFile() as f:
            self.assertEqual(run(*arguments, "pixels", "--out", f.name).returncode, 0)
            again = run("inspect", "image", "--mmproj", MMPROJ, "--pixels", f.name, "--shape", "1,3,112,112",
                        "--stage", "rows")
        self.assertEqual(json.loads(again.stdout), rows)


MEASURES = "measures the machine, as test_keys does: 20 s under a sanitizer"


class Bench(unittest.TestCase):
    def test_keys(self):
        done = run("bench", "-p", "16", "-n", "8", "-r", "2", "--image", PICTURE, "--streams", "1,5", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        figures = json.loads(done.stdout)
        for key in ("prefill_tps", "decode_tps", "image_decode_ms", "encode_ms", "ttft_ms", "rss_mb"):
            self.assertGreater(figures[key], 0, key)
        # A difference of two timings: left out where other work made the shorter one longer.
        self.assertGreater(figures.get("preprocess_ms", 1), 0)
        # A model that fits in the caches may read more than memory gives: shares have no upper bound here.
        for key in ("read_gbps", "gmac_per_s", "read_share", "gmac_share"):
            self.assertGreater(figures[key], 0, key)
        for streams in ("1", "5"):
            self.assertGreater(figures["streams"][streams]["aggregate_tps"], 0)
            self.assertGreater(figures["streams"][streams]["itl_p99_ms"], 0)
        self.assertGreater(figures["streams"]["1"]["together_tps"], 0)

    @unittest.skipIf(os.environ.get("OCELLUS_SANITIZE"), MEASURES)
    def test_depth(self):
        command = ["bench", "-p", "16", "-n", "8", "-r", "1", "-c", "300", "--kv-type", "q8_0"]
        done = run(*command, "-d", "284", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(json.loads(done.stdout)["decode_tps"], 0)
        done = run(*command, "--depth", "285")
        self.assertEqual(done.returncode, 2)
        self.assertIn("16 tokens do not fit a context of 300 (-c) behind 285 (-d)", done.stderr)

    @unittest.skipIf(os.environ.get("OCELLUS_SANITIZE"), MEASURES)
    def test_machine(self):
        done = run("bench", "--machine", "-m", "/nonexistent.gguf", "-t", "1", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        figures = json.loads(done.stdout)
        self.assertEqual(figures.pop("cores"), 1)
        self.assertLessEqual({"read_gbps", "int8_gmacs", "f32_gflops"}, set(figures))
        self.assertLessEqual(set(figures), {"read_gbps", "int8_gmacs", "f32_gflops", "f16_gflops"})
        for key, value in figures.items():
            self.assertGreater(value, 0, key)
        text = run("bench", "--machine", "-t", "1")
        self.assertEqual(text.returncode, 0, text.stderr)
        self.assertIn("GB/s", text.stdout)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: cli.py OCELLUS")
    ocellus = os.path.abspath(sys.argv.pop())
    unittest.main(verbosity=2)
