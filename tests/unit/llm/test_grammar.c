// GBNF: what texts a grammar takes, errors with their place, masks over a vocabulary, sampling under a grammar.
#include "check.h"
#include "compute/ops.h"
#include "llm/grammar.h"
#include "llm/model.h"

static struct llm_grammar *parse(const char *text) {
    struct err err = {0};
    struct llm_grammar *g = llm_grammar_parse(text, strlen(text), &err);
    CHECK_STR(err.msg, "");
    return g;
}

// 'y': a whole text, 'p': the beginning of one, 'n': neither.
static char verdict(const struct llm_grammar *g, const char *text, size_t len) {
    struct err err = {0};
    struct matcher *m = matcher_create(g, NULL, NULL, false, &err);
    bool fits = true;
    for (size_t i = 0; fits && i < len; i++) // byte by byte, and once more in one go
        CHECK(matcher_accept(m, text + i, 1, &fits, &err));
    char result = !fits ? 'n' : matcher_may_end(m) ? 'y' : 'p';
    matcher_destroy(m);
    m = matcher_create(g, NULL, NULL, false, &err);
    bool at_once = false;
    CHECK(matcher_accept(m, text, len, &at_once, &err));
    CHECK(at_once == fits);
    matcher_destroy(m);
    return result;
}

struct text_case {
    const char *grammar, *text;
    char want;
};

static const struct text_case cases[] = {
    {"root ::= \"ab\" | \"ac\"", "ab", 'y'},
    {"root ::= \"ab\" | \"ac\"", "ac", 'y'},
    {"root ::= \"ab\" | \"ac\"", "a", 'p'},
    {"root ::= \"ab\" | \"ac\"", "ad", 'n'},
    {"root ::= \"ab\" | \"ac\"", "abc", 'n'},
    {"root ::= \"\"", "", 'y'},
    {"root ::= [a-c]+ \"x\"?", "abcx", 'y'},
    {"root ::= [a-c]+ \"x\"?", "x", 'n'},
    {"root ::= [^a-c\\n]*", "de\xc3\xa9", 'y'},
    {"root ::= [^a-c\\n]*", "d\n", 'n'},
    {"root ::= \"ab\"*", "abab", 'y'}, // the whole literal repeats
    {"root ::= \"ab\"*", "abb", 'n'},
    {"root ::= \"a\"{3}", "aaa", 'y'},
    {"root ::= \"a\"{3}", "aa", 'p'},
    {"root ::= \"a\"{3}", "aaaa", 'n'},
    {"root ::= \"a\"{2,}", "aaaaaaaa", 'y'},
    {"root ::= \"a\"{2,}", "a", 'p'},
    {"root ::= \"a\"{0,2} \"b\"", "aab", 'y'},
    {"root ::= \"a\"{0,2} \"b\"", "b", 'y'},
    {"root ::= \"a\"{0,2} \"b\"", "aaab", 'n'},
    {"root ::= \"a\"{0}", "a", 'n'},
    {"root ::= (\"a\" | \"b\" [0-9]){2} # twice\n", "b7a", 'y'},
    {"root ::= list\nlist ::= \"(\" list* \")\"", "(()(()))", 'y'},
    {"root ::= list\nlist ::= \"(\" list* \")\"", "(()", 'p'},
    {"root ::= list\nlist ::= \"(\" list* \")\"", "())", 'n'},
    {"root ::=\n  \"a\" |\n  \"b\"\nother ::= \"c\"\n", "b", 'y'},
    {"root ::= (\n \"a\"\n \"b\" )", "ab", 'y'},
    {"root ::= \"\\x41\\u00e9\\U0001F600\\\\\\\"\"", "A\xc3\xa9\xf0\x9f\x98\x80\\\"", 'y'},
    {"root ::= [\\]\\-x]+", "]-x", 'y'},
    {"root ::= [a-]+", "a-", 'y'},
    {"root ::= .", "\xf0\x9f\x98\x80", 'y'},
    {"root ::= .", "\xf0\x9f\x98", 'p'},
    {"root ::= .", "\xc0\x80", 'n'}, // not the shortest form
    {"root ::= .", "\xe0\x80", 'n'}, // as well
    {"root ::= .", "\xed\xa0", 'n'}, // a surrogate
    {"root ::= .", "\xf4\x90", 'n'}, // above U+10FFFF
    {"root ::= .", "\x80", 'n'},     // a continuation alone
    {"root ::= [\xc3\xa9-\xc3\xab]", "\xc3\xaa", 'y'},
    {"root ::= [\xc3\xa9-\xc3\xab]", "\xc3\xac", 'n'},
    {"root ::= (\"a\"?)* \"b\"", "aab", 'y'}, // a repetition of what may be empty
    {"root ::= x \"c\"\nx ::= y\ny ::= \"a\" y | \"b\"", "aabc", 'y'},
};

static void test_texts(void) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct llm_grammar *g = parse(cases[i].grammar);
        if (!g)
            continue;
        char got = verdict(g, cases[i].text, strlen(cases[i].text));
        if (got != cases[i].want) {
            printf("%s <- \"%s\": %c, want %c\n", cases[i].grammar, cases[i].text, got, cases[i].want);
            check_failed++;
        }
        llm_grammar_destroy(g);
    }
}

static void refuse(const char *text, const char *part) {
    struct err err = {0};
    struct llm_grammar *g = llm_grammar_parse(text, strlen(text), &err);
    CHECK(!g);
    CHECK_ERR(&err, ERR_INVALID_VALUE, part);
    llm_grammar_destroy(g);
}

static void test_refused(void) {
    refuse("", "root");
    refuse("start ::= \"a\"", "root");
    refuse("root ::= other", "line 1, column 10: no rule \"other\"");
    refuse("root ::= \"a\"\n  )", "line 2, column 3");
    refuse("root = \"a\"", "line 1, column 6: expected \"::=\", found '='");
    refuse("root ::= \"a", "expected a character, found the end");
    refuse("root ::= \"a\n\"", "the end of the line");
    refuse("root ::= \"\\q\"", "backslash");
    refuse("root ::= \"\\x4g\"", "hexadecimal digit, found 'g'");
    refuse("root ::= \"\\uD800\"", "code point");
    refuse("root ::= [b-a]", "ascends");
    refuse("root ::= []", "not empty");
    refuse("root ::= (\"a\"", "')'");
    refuse("root ::= \"a\"{2,1}", "ascends");
    refuse("root ::= \"a\"{99999}", "10000");
    refuse("root ::= \"a\"\nroot ::= \"b\"", "line 2, column 1: expected a rule that is not there yet");
    refuse("root ::= * \"a\"", "found '*'");
    refuse("root ::= \"\xff\"", "UTF-8");
    refuse("root ::= root \"a\" | \"b\"", "\"root\" can begin with itself");
    refuse("root ::= a\na ::= b \"x\"\nb ::= c* a\nc ::= \"c\"", "left recursion");
    refuse(
        "root ::= [a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000}",
        "too large");
    char deep[300] = "root ::= ";
    memset(deep + 9, '(', 200);
    refuse(deep, "64 groups");
}

// A stack deeper than there is room for is an error, and so are as many places at once; never a crash.
static void test_limits(void) {
    struct err err = {0};
    struct llm_grammar *g = parse("root ::= \"(\" root \")\" | \"x\"");
    struct matcher *m = matcher_create(g, NULL, NULL, false, &err);
    bool fits = true;
    size_t n = 0;
    while (n < 100000 && matcher_accept(m, "(", 1, &fits, &err) && fits)
        n++;
    CHECK(n > 1000 && n < 100000);
    CHECK_ERR(&err, ERR_INVALID_VALUE, "too deep");
    matcher_destroy(m);
    llm_grammar_destroy(g);
}

// Grammars that could cost without end, fed with text and asked for a mask: what they cost is bounded, and those that
// pass the bounds say so.
static void test_explosions(const struct llm *m) {
    static const struct {
        const char *text;
        size_t n_fed;
        const char *want; // in the error; NULL: none
    } bombs[] = {
        {"root ::= a* a* a* a* a* a* a* a* a* a* a* a* b\na ::= [^b] | [^b] [^b]\nb ::= \"b\"", 300, NULL},
        {"root ::= x | x x | x x x\nx ::= y | y y | y y y\ny ::= z | z z | z z z\n"
         "z ::= [^!]* | [^?]* | \"(\" x \")\"",
         300, NULL},
        {"root ::= (a (b (a (b root?)*)*)*)*\na ::= [^x]*[^y]\nb ::= [^z]*[^w]", 300,
         "places looked at for one token"},
        {"root ::= (([^!]{0,90}){0,90}){0,90}", 0, "at its beginning"},
        {"root ::= ((a?){200}){200}\na ::= [^!] | [^?] [^!]", 0, "at its beginning"},
        {"root ::= a{5000}\na ::= [^!] | [^?] [^!] | [^#] [^?] [^!]", 2000, "places looked at for one token"},
        {"root ::= \"a\" root \"b\" | \"a\" root | \"c\"", 20000, "at once"},
    };
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        struct err err = {0};
        struct llm_grammar *g = parse(bombs[i].text);
        struct matcher *a =
            matcher_create(g, m->tokenizer, shared_order_get(m->order, m->tokenizer), false, &err);
        const uint64_t *mask;
        bool fits = true;
        for (size_t n = 0; a && n < bombs[i].n_fed && !err.code && fits; n++)
            matcher_accept(a, "a", 1, &fits, &err);
        if (a && !err.code)
            CHECK(fits && matcher_mask(a, &mask, &err) == !err.code);
        if (bombs[i].want)
            CHECK_ERR(&err, ERR_INVALID_VALUE, bombs[i].want);
        else
            CHECK_STR(err.msg, "");
        matcher_destroy(a);
        llm_grammar_destroy(g);
    }
}

// Far more states than there is room for: what is forgotten is found again.
static void test_forgetting(void) {
    struct err err = {0};
    struct llm_grammar *g = parse("root ::= \"[\" (item (\",\" item)*)? \"]\"\nitem ::= [a-z]{1,600} | root");
    struct matcher *m = matcher_create(g, NULL, NULL, false, &err);
    bool fits = true;
    size_t n_long = 0;
    CHECK(matcher_accept(m, "[", 1, &fits, &err));
    for (size_t round = 0; fits && round < 50; round++) {
        CHECK(matcher_accept(m, "[[", 2, &fits, &err) && fits);
        for (n_long = 0; fits && n_long < 700; n_long++)
            CHECK(matcher_accept(m, "q", 1, &fits, &err));
        CHECK(!fits && n_long == 601); // the one too many
        CHECK(matcher_accept(m, "]],", 3, &fits, &err) && fits);
    }
    CHECK(matcher_accept(m, "x]", 2, &fits, &err) && fits && matcher_may_end(m));
    matcher_destroy(m);
    llm_grammar_destroy(g);
}

static const char json_grammar[] =
    "root ::= object\n"
    "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
    "object ::= \"{\" ws (pair (\",\" ws pair)*)? \"}\" ws\n"
    "pair ::= string \":\" ws value\n"
    "array ::= \"[\" ws (value (\",\" ws value)*)? \"]\" ws\n"
    "string ::= \"\\\"\" ([^\"\\\\\\x00-\\x1f] | \"\\\\\" [\"\\\\/bfnrt])* \"\\\"\" ws\n"
    "number ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15}) (\".\" [0-9]{1,15})? ws\n"
    "ws ::= [ \\n]?\n";

// The mask holds what matcher_accept_token takes, at each place of a text.
static void test_mask(const struct llm *m) {
    struct err err = {0};
    struct llm_grammar *g = parse(json_grammar);
    struct token_order *order = token_order_create(m->tokenizer);
    static const char text[] = "{\"a\\n\": [1, -2.5, \"\xc3\xa9\"]}";
    for (size_t len = 0; len <= sizeof text - 1; len++) {
        bool fits = true;
        const uint64_t *mask = NULL;
        size_t n_wrong = 0, n_set = 0;
        struct matcher *a = matcher_create(g, m->tokenizer, order, false, &err);
        CHECK(matcher_accept(a, text, len, &fits, &err) && fits);
        CHECK(matcher_mask(a, &mask, &err));
        for (int32_t id = 0; (size_t)id < m->n_vocab; id++) {
            bool set = mask[id / 64] >> id % 64 & 1;
            n_set += set;
            if (set ? n_set > 40 : id % 16 != 0)
                continue;
            struct matcher *b = matcher_create(g, m->tokenizer, order, false, &err);
            CHECK(matcher_accept(b, text, len, &fits, &err));
            CHECK(matcher_accept_token(b, id, &fits, &err));
            n_wrong += fits != set;
            matcher_destroy(b);
        }
        CHECK(n_wrong == 0);
        CHECK(n_set > 0);
        matcher_destroy(a);
    }
    token_order_destroy(order);
    llm_grammar_destroy(g);
}

// Whatever the logits say, the text is of the grammar: here they are noise.
static void test_sampling(const struct llm *m) {
    struct err err = {0};
    struct llm_grammar *g =
        parse("root ::= \"{\\\"n\\\": \" [1-9] [0-9]{0,3} \", \\\"ok\\\": \" (\"true\" | \"false\") \"}\"");
    float *logits = calloc(m->n_vocab, sizeof *logits);
    uint32_t noise = 1;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct llm_sampling sampling = llm_sampling_default();
        sampling.grammar = g;
        sampling.seed = seed;
        sampling.temperature = seed % 2 ? 1.0f : 0.0f;
        struct llm_sampler *s = llm_sampler_create(m, &sampling, &err);
        struct llm_detok *d = llm_detok_create(m, false);
        char text[200] = "";
        size_t len = 0, n;
        for (size_t i = 0; i < 60; i++) {
            int32_t id = -1;
            for (size_t k = 0; k < m->n_vocab; k++)
                logits[k] = (float)((noise = noise * 1664525u + 1013904223u) >> 16) / 8192.0f;
            CHECK(llm_sampler_next(s, logits, &id, &err));
            CHECK_STR(err.msg, "");
            if (id < 0 || llm_token_is_end(m, id))
                break;
            const char *piece = llm_detok_put(d, id, &n);
            CHECK(len + n < sizeof text);
            memcpy(text + len, piece, n);
            len += n;
        }
        CHECK(verdict(g, text, len) == 'y');
        llm_detok_destroy(d);
        llm_sampler_destroy(s);
    }
    free(logits);
    llm_grammar_destroy(g);
}

int main(void) {
    struct err err = {0};
    test_texts();
    test_refused();
    test_limits();
    test_forgetting();
    struct ops *ops = cpu_open(&(struct cpu_options){.n_threads = 1}, &err);
    struct llm *m = llm_open("samples/demo/demo-llm-f16.gguf", ops, &(struct llm_options){0}, &err);
    CHECK_STR(err.msg, "");
    if (m) {
        test_mask(m);
        test_sampling(m);
        test_explosions(m);
    }
    llm_close(m);
    ops->close(ops);
    return check_result();
}
