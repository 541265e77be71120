// Takes text, gives words: the pre-tokenizers of byte-level BPE vocabularies, written out by hand.
//
// Above each rule stands the regular expression that it is; alternatives are tried in order, a regular
// expression that does not match everything leaves the text between its matches as pieces. A rule sees its
// piece only: the end of the piece is the end of the text to it.
//
// Sources: the pre_tokenizer of each model's tokenizer.json; OpenAI's tiktoken (gpt-2, o200k); Mistral's
// tekken.json. Case is ignored as Unicode folds it: U+017F is an s.
#include "llm/pretokenize.h"

#include "llm/unicode.h"

#include <string.h>

enum {
    WORD_SPACE = UNICODE_LETTER | UNICODE_NUMBER | UNICODE_SPACE,
    UPPER_RUN = UNICODE_UPPER | UNICODE_OTHER_LETTER | UNICODE_MARK, // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
    LOWER_RUN = UNICODE_LOWER | UNICODE_OTHER_LETTER | UNICODE_MARK, // [\p{Ll}\p{Lm}\p{Lo}\p{M}]
    BOTH_RUNS = UPPER_RUN & LOWER_RUN,
};

// ---- what the expressions are made of ----

static bool is_line_end(struct character c) {
    return c.code_point == '\r' || c.code_point == '\n';
}

// [^\s\p{L}\p{N}]
static bool is_other(struct character c) {
    return c.len > 0 && !(c.class & WORD_SPACE);
}

// The end of the run of characters of these classes that begins at `at`.
static size_t run_end(const char *s, size_t len, size_t at, unsigned classes) {
    struct character c;
    while ((c = character_at(s, len, at)).class & classes)
        at += c.len;
    return at;
}

static size_t other_end(const char *s, size_t len, size_t at) {
    struct character c;
    while (is_other(c = character_at(s, len, at)))
        at += c.len;
    return at;
}

// The end of at most n numbers.
static size_t numbers_end(const char *s, size_t len, size_t n) {
    size_t at = 0;
    struct character c;
    for (; n > 0 && ((c = character_at(s, len, at)).class & UNICODE_NUMBER); n--)
        at += c.len;
    return at;
}

// 's|'t|'re|'ve|'m|'ll|'d at `at`: its length or 0.
static size_t contraction(const char *s, size_t len, size_t at, bool any_case) {
    if (len - at < 2 || s[at] != '\'')
        return 0;
    struct character c = character_at(s, len, at + 1);
    if (any_case && c.code_point == 0x17f)
        return 1 + c.len;
    int fold = any_case ? 0x20 : 0;
    int first = s[at + 1] | fold, second = len - at > 2 ? s[at + 2] | fold : 0;
    if (c.len != 1)
        return 0;
    if (first == 's' || first == 't' || first == 'm' || first == 'd')
        return 2;
    return (first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
                   (first == 'l' && second == 'l')
               ? 3
               : 0;
}

// \s+(?!\S)|\s+ : all spaces but the last before a word, where there are more.
static size_t spaces(const char *s, size_t len) {
    size_t at = 0, last = 0;
    struct character c;
    while ((c = character_at(s, len, at)).class & UNICODE_SPACE) {
        last = at;
        at += c.len;
    }
    return at == len || last == 0 ? at : last;
}

// \s*[\r\n]+|\s+(?!\S)|\s+
static size_t spaces_or_lines(const char *s, size_t len) {
    size_t lines_end = 0;
    struct character c;
    for (size_t at = 0; (c = character_at(s, len, at)).class & UNICODE_SPACE; at += c.len)
        if (is_line_end(c))
            lines_end = at + c.len;
    return lines_end > 0 ? lines_end : spaces(s, len);
}

//  ?[^\s\p{L}\p{N}]+ and then any of `tail`: its length or 0.
static size_t symbols(const char *s, size_t len, const char *tail) {
    size_t begin = s[0] == ' ', at = other_end(s, len, begin);
    if (at == begin)
        return 0;
    while (at < len && s[at] && strchr(tail, s[at]))
        at++;
    return at;
}

// The length of the text before the first character for which match gives a length, or of its match there.
static size_t match_or_gap(const char *s, size_t len, size_t (*match)(const char *s, size_t len)) {
    size_t at = match(s, len);
    if (at > 0)
        return at;
    do
        at += character_at(s, len, at).len;
    while (at < len && match(s + at, len - at) == 0);
    return at;
}

// ---- gpt-2 ----

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
static size_t gpt_2_rule(const char *s, size_t len) {
    size_t n = contraction(s, len, 0, false);
    if (n > 0)
        return n;
    size_t at = s[0] == ' ';
    struct character c = character_at(s, len, at);
    if (c.class & UNICODE_LETTER)
        return run_end(s, len, at, UNICODE_LETTER);
    if (c.class & UNICODE_NUMBER)
        return run_end(s, len, at, UNICODE_NUMBER);
    n = symbols(s, len, "");
    return n > 0 ? n : spaces(s, len);
}

static size_t match_number(const char *s, size_t len) {
    return numbers_end(s, len, 1);
}

// \p{N}
static size_t number_rule(const char *s, size_t len) {
    return match_or_gap(s, len, match_number);
}

// ---- llama-bpe, qwen2 ----

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,n}| ?[^\s\p{L}\p{N}]+[\r\n]*
// |\s*[\r\n]+|\s+(?!\S)|\s+
static size_t llama_word(const char *s, size_t len, size_t n_digits) {
    size_t n = contraction(s, len, 0, true);
    if (n > 0)
        return n;
    struct character c = character_at(s, len, 0);
    if (c.class & UNICODE_NUMBER)
        return numbers_end(s, len, n_digits);
    size_t begin = (c.class & UNICODE_LETTER) || is_line_end(c) ? 0 : c.len;
    n = run_end(s, len, begin, UNICODE_LETTER);
    if (n > begin)
        return n;
    n = symbols(s, len, "\r\n");
    return n > 0 ? n : spaces_or_lines(s, len);
}

static size_t llama_bpe_rule(const char *s, size_t len) {
    return llama_word(s, len, 3);
}

static size_t qwen2_rule(const char *s, size_t len) {
    return llama_word(s, len, 1);
}

// ---- gpt-4o, tekken ----

// [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+ from `at`: its end, or 0. Where no lower-case
// letter follows, the second run takes the last character of the first that it can.
static size_t upper_then_lower(const char *s, size_t len, size_t at) {
    size_t end_of_both = 0;
    struct character c;
    for (; (c = character_at(s, len, at)).class & UPPER_RUN; at += c.len)
        if (c.class & BOTH_RUNS)
            end_of_both = at + c.len;
    return c.class & LOWER_RUN ? run_end(s, len, at, LOWER_RUN) : end_of_both;
}

// [^\r\n\p{L}\p{N}]? before one of
// [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+ and
// [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]* : its length or 0. The first takes whatever holds
// a letter that is not upper case; upper-case letters alone are left to the second.
static size_t cased_word(const char *s, size_t len) {
    struct character c = character_at(s, len, 0);
    size_t begin = is_line_end(c) || (c.class & (UNICODE_LETTER | UNICODE_NUMBER)) ? 0 : c.len;
    size_t end = upper_then_lower(s, len, begin);
    if (end == 0 && begin > 0)
        end = upper_then_lower(s, len, 0);
    if (end > 0)
        return end;
    end = run_end(s, len, begin, UPPER_RUN);
    return end > begin ? end : 0;
}

// cased_word and, for gpt-4o, (?i:'s|'t|'re|'ve|'m|'ll|'d)? behind it|\p{N}{1,n}
// | ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
static size_t gpt_4o_rule(const char *s, size_t len) {
    size_t n = cased_word(s, len);
    if (n > 0)
        return n + contraction(s, len, n, true);
    n = numbers_end(s, len, 3);
    n = n > 0 ? n : symbols(s, len, "\r\n/");
    return n > 0 ? n : spaces_or_lines(s, len);
}

static size_t tekken_rule(const char *s, size_t len) {
    size_t n = cased_word(s, len);
    n = n > 0 ? n : numbers_end(s, len, 1);
    n = n > 0 ? n : symbols(s, len, "\r\n/");
    return n > 0 ? n : spaces_or_lines(s, len);
}

// ---- deepseek-llm, deepseek-coder ----

static size_t match_line_end(const char *s, size_t len) {
    return is_line_end(character_at(s, len, 0)) ? 1 : 0;
}

// [\r\n]
static size_t line_end_rule(const char *s, size_t len) {
    return match_or_gap(s, len, match_line_end);
}

static bool is_letter(struct character c) {
    return c.class & UNICODE_LETTER;
}

static bool is_cased_letter(struct character c) {
    return c.class & UNICODE_CASED;
}

static bool is_punctuation(struct character c) {
    return c.class & UNICODE_PUNCTUATION;
}

// [!-/:-~！-／：-～‘-‟　-。]
static bool is_listed_symbol(struct character c) {
    uint32_t p = c.code_point;
    return (p >= '!' && p <= '/') || (p >= ':' && p <= '~') || (p >= 0xff01 && p <= 0xff0f) ||
           (p >= 0xff1a && p <= 0xff5e) || (p >= 0x2018 && p <= 0x201f) || (p >= 0x3000 && p <= 0x3002);
}

// [一-龥ࠀ-一가-퟿]
static bool is_listed_script(struct character c) {
    return (c.code_point >= 0x800 && c.code_point <= 0x9fa5) ||
           (c.code_point >= 0xac00 && c.code_point <= 0xd7ff);
}

static size_t match_run(const char *s, size_t len, size_t at, bool (*is)(struct character)) {
    size_t begin = at;
    struct character c;
    while ((c = character_at(s, len, at)).len > 0 && is(c))
        at += c.len;
    return at > begin ? at : 0;
}

// \s? before such a run.
static size_t match_spaced_run(const char *s, size_t len, bool (*is)(struct character)) {
    struct character c = character_at(s, len, 0);
    size_t n = c.class & UNICODE_SPACE ? match_run(s, len, c.len, is) : 0;
    return n > 0 ? n : match_run(s, len, 0, is);
}

static size_t match_spaced_letters(const char *s, size_t len) {
    return match_spaced_run(s, len, is_letter);
}

static size_t match_spaced_cased(const char *s, size_t len) {
    return match_spaced_run(s, len, is_cased_letter);
}

static size_t match_spaced_punctuation(const char *s, size_t len) {
    return match_spaced_run(s, len, is_punctuation);
}

static size_t match_spaced_symbols(const char *s, size_t len) {
    return match_spaced_run(s, len, is_listed_symbol);
}

static size_t match_script(const char *s, size_t len) {
    return match_run(s, len, 0, is_listed_script);
}

static size_t match_numbers(const char *s, size_t len) {
    return numbers_end(s, len, SIZE_MAX);
}

// \s?\p{L}+
static size_t letters_rule(const char *s, size_t len) {
    return match_or_gap(s, len, match_spaced_letters);
}

// \s?[A-Za-z...]+
static size_t cased_rule(const char *s, size_t len) {
    return match_or_gap(s, len, match_spaced_cased);
}

// \s?\p{P}+
static size_t spaced_punctuation_rule(const char *s, size_t len) {
    return match_or_gap(s, len, match_spaced_punctuation);
}

// \s?[!-/:-~！-／：-～‘-‟　-。]+
static size_t spaced_symbols_rule(const char *s, size_t len) {
    return match_or_gap(s, len, match_spaced_symbols);
}

// \s+$
static size_t end_spaces_rule(const char *s, size_t len) {
    size_t tail = 0;
    struct character c;
    for (size_t at = 0; at < len; at += c.len) {
        c = character_at(s, len, at);
        if (!(c.class & UNICODE_SPACE))
            tail = at + c.len;
    }
    return tail > 0 ? tail : len;
}

// [一-龥ࠀ-一가-퟿]+
static size_t script_rule(const char *s, size_t len) {
    return match_or_gap(s, len, match_script);
}

// \p{N}+
static size_t numbers_rule(const char *s, size_t len) {
    return match_or_gap(s, len, match_numbers);
}

// ---- falcon ----

static bool is_falcon_punctuation(struct character c) {
    return (c.class & UNICODE_PUNCTUATION) ||
           (c.code_point > ' ' && c.code_point < 0x7f && strchr("$+<=>^~|`", (int)c.code_point));
}

static size_t match_falcon_punctuation(const char *s, size_t len) {
    return match_run(s, len, 0, is_falcon_punctuation);
}

// [\p{P}$+<=>^~|`]+
static size_t falcon_punctuation_rule(const char *s, size_t len) {
    return match_or_gap(s, len, match_falcon_punctuation);
}

static size_t match_three_digits(const char *s, size_t len) {
    for (size_t i = 0; i < 3; i++)
        if (i >= len || s[i] < '0' || s[i] > '9')
            return 0;
    return 3;
}

// [0-9][0-9][0-9]
static size_t three_digits_rule(const char *s, size_t len) {
    return match_or_gap(s, len, match_three_digits);
}

// ---- by name ----

#define DEEPSEEK_LLM_RULES                                                                                   \
    { line_end_rule, cased_rule, spaced_symbols_rule, end_spaces_rule, script_rule, numbers_rule }

static const struct pretokenizer pretokenizers[] = {
    {.name = "gpt-2", .rules = {gpt_2_rule}},
    {.name = "llama-bpe", .rules = {llama_bpe_rule}, .whole_words = true, .adds_bos = true},
    {.name = "qwen2", .rules = {qwen2_rule}},
    {.name = "smollm", .rules = {number_rule, gpt_2_rule}},
    {.name = "gpt-4o", .rules = {gpt_4o_rule}},
    {.name = "tekken", .rules = {tekken_rule}, .whole_words = true, .adds_bos = true},
    {.name = "deepseek-llm", .rules = DEEPSEEK_LLM_RULES},
    {.name = "deepseek-coder",
     .rules = {line_end_rule, letters_rule, spaced_punctuation_rule, script_rule, number_rule}},
    {.name = "starcoder", .rules = {number_rule, gpt_2_rule}},
    {.name = "falcon", .rules = {falcon_punctuation_rule, gpt_2_rule, three_digits_rule}},
    {.name = "mpt", .rules = {gpt_2_rule}},
    {.name = "refact", .rules = {number_rule, gpt_2_rule}},
};

enum { N_PRETOKENIZERS = sizeof pretokenizers / sizeof *pretokenizers };

// Other names that files carry for the same words.
static const struct {
    const char *name, *same_as;
} aliases[] = {
    {"default", "gpt-2"},       {"gpt2", "gpt-2"},
    {"phi-2", "gpt-2"},         {"olmo", "mpt"},
    {"llama3", "llama-bpe"},    {"llama-v3", "llama-bpe"},
    {"falcon3", "llama-bpe"},   {"pixtral", "llama-bpe"},
    {"qwen2.5", "qwen2"},       {"deepseek-r1-qwen", "qwen2"},
    {"stablelm2", "qwen2"},     {"megrez", "qwen2"},
    {"llama4", "gpt-4o"},       {"command-r", "starcoder"},
    {"codeshell", "starcoder"},
};

static bool is_name(const char *name, const char *s, size_t len) {
    return strlen(name) == len && memcmp(name, s, len) == 0;
}

const struct pretokenizer *pretokenizer_find(const char *name, size_t len, struct err *err) {
    if (!name)
        return &pretokenizers[0];
    const char *want = name;
    size_t want_len = len;
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++) {
        if (is_name(aliases[i].name, name, len)) {
            want = aliases[i].same_as;
            want_len = strlen(want);
        }
    }
    for (size_t i = 0; i < N_PRETOKENIZERS; i++)
        if (is_name(pretokenizers[i].name, want, want_len))
            return &pretokenizers[i];
    err_set(err, ERR_MODEL,
            "tokenizer.ggml.pre: \"%.*s\", want one of gpt-2, llama-bpe, qwen2, smollm, gpt-4o, tekken, "
            "deepseek-llm, deepseek-coder, starcoder, falcon, mpt, refact",
            (int)(len < 40 ? len : 40), name);
    return NULL;
}

void words_init(struct words *w, const struct pretokenizer *pre, const char *text, size_t len) {
    *w = (struct words){.pre = pre, .text = text};
    while (pre->rules[w->n_rules])
        w->n_rules++;
    w->ends[0] = len;
}

bool words_next(struct words *w, const char **word, size_t *len) {
    if (w->at >= w->ends[0])
        return false;
    for (size_t i = 0; i < w->n_rules; i++)
        if (w->at >= w->ends[i + 1])
            w->ends[i + 1] = w->at + w->pre->rules[i](w->text + w->at, w->ends[i] - w->at);
    *word = w->text + w->at;
    *len = w->ends[w->n_rules] - w->at;
    w->at = w->ends[w->n_rules];
    return true;
}
