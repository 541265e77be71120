// JSON Schema -> GBNF: which texts the grammar of a schema takes, and what is refused by name.
#include "check.h"
#include "json_schema.h"
#include "llm/grammar.h"

struct schema_case {
    const char *schema, *text;
    bool want;
};

#define OBJECT                                                                                               \
    "{'type':'object','properties':{'a':{'type':'integer'},'b':{'type':'string'},'c':{'type':'null'}},"      \
    "'required':['b']}"
#define TREE                                                                                                 \
    "{'$ref':'#/$defs/n','$defs':{'n':{'type':'object','properties':{'v':{'type':'integer'},"                \
    "'kids':{'type':'array','items':{'$ref':'#/$defs/n'}}},'required':['v']}}}"

#define SELF "{'type':'object','properties':{'v':{'type':'integer'},'next':{'$ref':'#'}},'required':['v']}"
#define ALL                                                                                                  \
    "{'allOf':[{'type':'object','properties':{'a':{'type':'integer','maximum':10}},'required':['a']},"       \
    "{'$ref':'#/$defs/b'},{'properties':{'b':{'maxLength':2}}}],"                                            \
    "'$defs':{'b':{'properties':{'b':{'type':'string'}},'required':['b']}}}"
#define ANY                                                                                                  \
    "{'type':'object','properties':{'a':{'type':'integer'}},'required':['a'],"                               \
    "'anyOf':[{'properties':{'b':{'type':'boolean'}},'required':['b']},"                                     \
    "{'properties':{'c':{'type':'null'}},'required':['c']}]}"

static const struct schema_case cases[] = {
    // ' stands for "
    {"{}", "[1,{'x':null}]", true},
    {"{'type':'object'}", "{'x':[true,-1.5e3]}", true},
    {"{'type':'object'}", "[]", false},
    {"{'type':['integer','null']}", "null", true},
    {"{'type':['integer','null']}", "'1'", false},
    {OBJECT, "{'a':1,'b':'x','c':null}", true},
    {OBJECT, "{'b':'x'}", true},
    {OBJECT, "{ 'b': 'x', 'c': null }", true},
    {OBJECT, "{'a':1}", false},
    {OBJECT, "{'a':1,'c':null}", false},
    {OBJECT, "{'b':'x','d':1}", false},
    {OBJECT, "{'b':'x',}", false},
    {"{'type':'object','properties':{'a':true},'additionalProperties':{'type':'integer'}}", "{'z':1}", true},
    {"{'type':'object','properties':{'a':true},'additionalProperties':{'type':'integer'}}",
     "{'a':[],'z':1,'y':2}", true},
    {"{'type':'object','properties':{'a':true},'additionalProperties':{'type':'integer'}}", "{'a':1,'z':'x'}",
     false},
    {"{'type':'object','properties':{'a':true,'b':true}}", "{}", true},
    {"{'type':'object','properties':{'a':true,'b':true}}", "{'b':1}", true},
    {"{'type':'array','items':{'type':'boolean'},'minItems':1,'maxItems':2}", "[]", false},
    {"{'type':'array','items':{'type':'boolean'},'minItems':1,'maxItems':2}", "[true,false]", true},
    {"{'type':'array','items':{'type':'boolean'},'minItems':1,'maxItems':2}", "[true,true,true]", false},
    {"{'type':'array','maxItems':0}", "[]", true},
    {"{'prefixItems':[{'type':'integer'},{'type':'string'}],'items':false}", "[1,'x']", true},
    {"{'prefixItems':[{'type':'integer'},{'type':'string'}],'items':{'type':'null'}}", "[1,'x',null]", true},
    {"{'prefixItems':[{'type':'integer'},{'type':'string'}],'items':false}", "[1]", false},
    {"{'enum':['a',1,null,{'k':[2]}]}", "{'k':[2]}", true},
    {"{'enum':['a',1,null]}", "'b'", false},
    {"{'const':'say \\\\ it'}", "'say \\\\ it'", true},
    {"{'anyOf':[{'type':'integer'},{'const':'x'}]}", "'x'", true},
    {"{'oneOf':[{'type':'integer'},{'const':'x'}]}", "'y'", false},
    {TREE, "{'v':1,'kids':[{'v':2},{'v':3,'kids':[]}]}", true},
    {TREE, "{'v':1,'kids':[{}]}", false},
    {"{'type':'string','minLength':2,'maxLength':3}", "'\xc3\xa9\\n'", true},
    {"{'type':'string','minLength':2,'maxLength':3}", "'a'", false},
    {"{'type':'string','minLength':2,'maxLength':3}", "'abcd'", false},
    {"{'pattern':'^[A-Z]{2}-\\\\d+$'}", "'AB-12'", true},
    {"{'pattern':'^[A-Z]{2}-\\\\d+$'}", "'AB-'", false},
    {"{'pattern':'^(a|b(?:cd)?)*$'}", "'abcdb'", true},
    {"{'pattern':'x'}", "'--x--'", true},
    {"{'pattern':'x'}", "'----'", false},
    {"{'pattern':'^[^x]$'}", "'y'", true},
    {"{'pattern':'^[^x]$'}", "'x'", false},
    {"{'format':'date'}", "'2026-11-21'", true},
    {"{'format':'date'}", "'2026-13-01'", false},
    {"{'format':'time'}", "'23:59:59.5Z'", true},
    {"{'format':'date-time'}", "'2026-11-21T10:00:00+01:00'", true},
    {"{'format':'uuid'}", "'123e4567-e89b-12d3-a456-426614174000'", true},
    {"{'format':'uuid'}", "'123e4567'", false},
    {"{'format':'email'}", "'a.b+c@x-y.org'", true},
    {"{'format':'email'}", "'a.b'", false},
    {"{'format':'ipv4'}", "'192.168.0.255'", true},
    {"{'format':'ipv4'}", "'192.168.0.256'", false},
    {"{'format':'hostname'}", "'a-b.example'", true},
    {"{'format':'hostname'}", "'-a'", false},
    {"{'format':'uri'}", "'https://x.org/a?b=c#d'", true},
    {"{'format':'uri'}", "'x y'", false},
    {SELF, "{'v':1,'next':{'v':2,'next':{'v':3}}}", true},
    {SELF, "{'v':1,'next':{}}", false},
    {ALL, "{'a':1,'b':'x'}", true},
    {ALL, "{'a':1}", false},
    {ALL, "{'a':11,'b':'x'}", false},
    {ALL, "{'a':1,'b':'xyz'}", false},
    {ANY, "{'a':1,'b':true}", true},
    {ANY, "{'a':1,'c':null}", true},
    {ANY, "{'a':1}", false},
    {ANY, "{'b':true}", false},
    {"{'$defs':{'i':{'type':'integer','minimum':3}},'$ref':'#/$defs/i','maximum':7,'title':'t'}", "5", true},
    {"{'$defs':{'i':{'type':'integer','minimum':3}},'$ref':'#/$defs/i','maximum':7,'title':'t'}", "8", false},
    {"{'$defs':{'i':{'type':'integer','minimum':3}},'$ref':'#/$defs/i','maximum':7,'title':'t'}", "2", false},
    {"{'title':'t','description':'d','default':1,'examples':[1],'type':'integer','x-mine':3}", "7", true},
    {"{'allOf':[{'type':['integer','string','null']},{'type':['string','null']},{'enum':[null,'a',1]}]}",
     "'a'", true},
    {"{'type':'number','minimum':-2,'maximum':3}", "2.99", true},
    {"{'type':'number','minimum':-2,'maximum':3}", "3.0", true},
    {"{'type':'number','minimum':-2,'maximum':3}", "3.1", false},
    {"{'type':'number','minimum':-2,'maximum':3}", "-1.5", true},
    {"{'type':'number','minimum':-2,'maximum':3}", "-2.5", false},
    {"{'type':'number','minimum':0}", "-0.5", false},
    {"{'type':'number','minimum':0}", "12.5", true},
};

// New text with " for '.
static char *quoted(const char *text) {
    char *copy = malloc(strlen(text) + 1);
    strncpy(copy, text, strlen(text) + 1);
    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    return copy;
}

static struct llm_grammar *compile(const char *schema, struct err *err) {
    char *text = quoted(schema);
    json_t *root = json_parse(text, strlen(text), 1 << 20, err);
    struct buf gbnf = {0};
    struct llm_grammar *g = NULL;
    if (root && json_schema_to_gbnf(root, &gbnf, err))
        g = llm_grammar_parse(gbnf.data, gbnf.len, err);
    json_decref(root);
    buf_clear(&gbnf);
    free(text);
    return g;
}

static bool takes(const struct llm_grammar *g, const char *text) {
    struct err err = {0};
    struct matcher *m = matcher_create(g, NULL, NULL, false, &err);
    bool fits = false;
    CHECK(matcher_accept(m, text, strlen(text), &fits, &err));
    bool result = fits && matcher_may_end(m);
    matcher_destroy(m);
    return result;
}

static void test_cases(void) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        struct llm_grammar *g = compile(cases[i].schema, &err);
        char *text = quoted(cases[i].text);
        if (!g || takes(g, text) != cases[i].want) {
            printf("%s <- %s: want %d; %s\n", cases[i].schema, text, cases[i].want, err.msg);
            check_failed++;
        }
        free(text);
        llm_grammar_destroy(g);
    }
}

// All integers near a bound and the short ones, each seventh of the others; a sanitizer, where a matcher takes 5 ms, a
// sixth of those that are near no bound.
static bool is_tried(int n, const int bounds[2]) {
    if (abs(n - bounds[0]) <= 12 || abs(n - bounds[1]) <= 12)
        return true;
    return n % ((n > -20 && n < 130 ? 1 : 7) * (SANITIZED ? 6 : 1)) == 0;
}

// Integers against the bounds themselves.
static void test_ranges(void) {
    static const int bounds[][2] = {{0, 9},  {0, 10},    {3, 7},      {7, 123},   {99, 1001}, {100, 199},
                                    {-5, 5}, {-123, -7}, {-1001, 99}, {345, 345}, {-1, 0},    {1, 1999}};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        for (int which = 0; which < 3; which++) { // both, only the lower, only the upper
            char schema[120], low[40] = "", high[40] = "", text[16];
            struct err err = {0};
            if (which != 2)
                snprintf(low, sizeof low, ",'minimum':%d", bounds[i][0]);
            if (which != 1)
                snprintf(high, sizeof high, ",'maximum':%d", bounds[i][1]);
            snprintf(schema, sizeof schema, "{'type':'integer'%s%s}", low, high);
            struct llm_grammar *g = compile(schema, &err);
            CHECK_STR(err.msg, "");
            size_t n_wrong = 0;
            for (int n = -1200; g && n <= 2100; n++) {
                if (!is_tried(n, bounds[i]))
                    continue;
                snprintf(text, sizeof text, "%d", n);
                bool want = (which == 2 || n >= bounds[i][0]) && (which == 1 || n <= bounds[i][1]);
                n_wrong += takes(g, text) != want;
            }
            if (n_wrong > 0) {
                printf("%s: %zu wrong\n", schema, n_wrong);
                check_failed++;
            }
            llm_grammar_destroy(g);
        }
}

static void test_refused(void) {
    static const char *const schemas[][2] = {
        {"{'allOf':[]}", "allOf"},
        {"{'allOf':[{'type':'string'},{'type':'integer'}]}", "type: no value is of both"},
        {"{'allOf':[{'pattern':'a'},{'pattern':'b'}]}", "pattern: both have it"},
        {"{'allOf':[{'$ref':'#'}]}", "refers to itself"},
        {"{'$ref':'#'}", "refers to itself"},
        {"{'$ref':'#/$defs/a','$defs':{'a':{'$ref':'#/$defs/b'},'b':{'$ref':'#/$defs/a'}}}",
         "refers to itself"},
        {"{'$ref':'#','type':'object'}", "nested more than 48 deep"},
        {"{'not':{}}", "not"},
        {"{'type':'object','patternProperties':{'a':{}}}", "patternProperties"},
        {"{'type':'thing'}", "thing"},
        {"{'$ref':'#/$defs/none'}", "#/$defs/none"},
        {"{'$ref':'http://x/y'}", "http://x/y"},
        {"{'type':'string','pattern':'(?=x)'}", "pattern, character"},
        {"{'type':'string','pattern':'(x'}", "expected ')'"},
        {"{'type':'string','pattern':'a{4,3}'}", "pattern, character 2: expected counts that ascend"},
        {"{'type':'string','pattern':'a{10001,}'}", "pattern, character 2: expected at most 10000"},
        {"{'type':'string','pattern':'a{,3}'}", "pattern, character 2: expected {n}"},
        {"{'type':'string','pattern':'a{1,2,3}'}", "pattern, character 2: expected {n}"},
        {"{'type':'string','pattern':'[b-a]'}", "pattern, character 5: expected a range that ascends"},
        {"{'type':'string','pattern':'[]'}", "pattern, character 2: a set that is empty"},
        {"{'type':'string','pattern':'\\\\ud800'}", "half a surrogate pair"},
        {"{'type':'string','pattern':'*'}", "nothing to repeat"},
        {"{'type':'string','format':'regex'}", "format"},
        {"{'type':'integer','minimum':5,'maximum':3}", "above maximum"},
        {"{'type':'number','multipleOf':2}", "multipleOf"},
        {"{'type':'string','maxLength':100000}", "maxLength"},
        {"{'type':'object','properties':{'a':true},'required':['z']}", "required"},
        {"{'enum':[]}", "enum"},
        {"{'type':'array','items':3}", "expected an object or true"},
    };
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        struct err err = {0};
        struct llm_grammar *g = compile(schemas[i][0], &err);
        CHECK(!g);
        CHECK_ERR(&err, ERR_INVALID_VALUE, schemas[i][1]);
        llm_grammar_destroy(g);
    }
    // As deep as JSON may be.
    char deep[2000] = "";
    size_t n = 0;
    for (size_t i = 0; i < 60; i++)
        n += (size_t)snprintf(deep + n, sizeof deep - n, "{'items':");
    n += (size_t)snprintf(deep + n, sizeof deep - n, "{}");
    for (size_t i = 0; i < 60; i++)
        n += (size_t)snprintf(deep + n, sizeof deep - n, "}");
    struct err err = {0};
    CHECK(!compile(deep, &err));
    CHECK_ERR(&err, ERR_INVALID_VALUE, "nested more than 48 deep");
}

int main(void) {
    json_setup();
    test_cases();
    test_ranges();
    test_refused();
    return check_result();
}
