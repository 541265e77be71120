// The Jinja interpreter: each feature against the text that jinja2 gives, errors with their line, the bounds.
#include "check.h"

#include "llm/jinja.h"

struct example {
    const char *text, *want;
};

// ---- variables ----

static struct jinja_value text(struct jinja_run *r, const char *s) {
    return jinja_string(r, s, strlen(s), true);
}

static void put(struct jinja_run *r, struct jinja_value dict, const char *key, struct jinja_value value) {
    jinja_dict_add(r, dict, text(r, key), value);
}

static struct jinja_value message(struct jinja_run *r, const char *role, const char *content) {
    struct jinja_value m = jinja_dict(r);
    put(r, m, "role", text(r, role));
    put(r, m, "content", text(r, content));
    return m;
}

static struct jinja_value numbers(struct jinja_run *r, const int64_t *values, size_t n) {
    struct jinja_value list = jinja_list(r);
    for (size_t i = 0; i < n; i++)
        jinja_list_add(r, list, jinja_int(values[i]));
    return list;
}

static void set_variables(struct jinja_run *r) {
    struct jinja_value d = jinja_dict(r), a = jinja_list(r), x = jinja_dict(r), messages = jinja_list(r);
    put(r, x, "x", jinja_none());
    jinja_list_add(r, a, jinja_int(1));
    jinja_list_add(r, a, jinja_int(2));
    jinja_list_add(r, a, x);
    put(r, d, "b", jinja_int(1));
    put(r, d, "A", a);
    put(r, d, "c", text(r, "q'\"\n"));
    struct jinja_value second = message(r, "assistant", "yo");
    put(r, second, "n", jinja_int(2));
    jinja_list_add(r, messages, message(r, "user", "hi"));
    jinja_list_add(r, messages, second);
    jinja_list_add(r, messages, message(r, "user", "B"));
    jinja_set(r, "s", text(r, "Hello, Wörld  "));
    jinja_set(r, "l", numbers(r, (const int64_t[]){3, 1, 2}, 3));
    jinja_set(r, "items", numbers(r, (const int64_t[]){1, 2, 3, 4, 5, 6, 7}, 7));
    jinja_set(r, "d", d);
    jinja_set(r, "msgs", messages);
    jinja_set(r, "n", jinja_int(5));
    jinja_set(r, "f", jinja_float(1.5));
    jinja_set(r, "t", jinja_bool(true));
    jinja_set(r, "z", jinja_none());
    jinja_set(r, "e", text(r, ""));
    struct tm now = {.tm_year = 126, .tm_mday = 15, .tm_hour = 12, .tm_wday = 4, .tm_yday = 14};
    jinja_run_set_clock(r, &now);
}

// Renders; *r is to be destroyed. False with the error.
static bool render(const char *template, struct jinja_run **r, struct jinja_text *out, struct err *err) {
    struct jinja_template *t = jinja_compile(template, strlen(template), err);
    *r = jinja_run_create();
    set_variables(*r);
    bool ok = t && jinja_render(*r, t, out, err);
    jinja_template_destroy(t);
    return ok;
}

static void check_text(const char *template, const char *want) {
    struct jinja_run *r;
    struct jinja_text out = {0};
    struct err err = {0};
    bool ok = render(template, &r, &out, &err);
    if (!ok || out.len != strlen(want) || memcmp(out.data, want, out.len) != 0) {
        printf("%s\n  want \"%s\"\n  got  \"%.*s\" %s\n", template, want, (int)out.len, out.data, err.msg);
        check_failed++;
    }
    jinja_run_destroy(r);
}

static void check_error(const char *template, const char *want) {
    struct jinja_run *r;
    struct jinja_text out = {0};
    struct err err = {0};
    if (render(template, &r, &out, &err) || !strstr(err.msg, want) || strncmp(err.msg, "line ", 5) != 0) {
        printf("%.200s\n  want the error \"%s\"\n  got  \"%s\"\n", template, want, err.msg);
        check_failed++;
    }
    jinja_run_destroy(r);
}

// ---- what jinja2 gives for them ----

// clang-format off

static const struct example expressions[] = {
    {"1+2*3", "7"},
    {"7//2", "3"},
    {"-7//2", "-4"},
    {"-7%3", "2"},
    {"7%-3", "-2"},
    {"7/2", "3.5"},
    {"2**10", "1024"},
    {"-2**2", "4"},
    {"2**3**2", "64"},
    {"2**-1", "0.5"},
    {"1.5+1", "2.5"},
    {"1e20", "1e+20"},
    {"1.0", "1.0"},
    {"0.1+0.2", "0.30000000000000004"},
    {"1e-5", "1e-05"},
    {"123456789012345680.0", "1.2345678901234568e+17"},
    {"7.5//2", "3.0"},
    {"-7.5%2", "0.5"},
    {"1==1.0", "True"},
    {"true==1", "True"},
    {"'a'<'b'", "True"},
    {"[1,2]<[1,3]", "True"},
    {"1<2<3", "True"},
    {"1<2>3", "False"},
    {"'a' in 'abc'", "True"},
    {"1 in l", "True"},
    {"9 not in l", "True"},
    {"'b' in d", "True"},
    {"not true", "False"},
    {"not 1 == 2", "True"},
    {"1 and 0 or 5", "5"},
    {"'' or 'x'", "x"},
    {"none", "None"},
    {"true", "True"},
    {"undefinedvar", ""},
    {"s|length", "14"},
    {"s|trim", "Hello, Wörld"},
    {"s|upper", "HELLO, WÖRLD  "},
    {"s|lower", "hello, wörld  "},
    {"s|title", "Hello, Wörld  "},
    {"s|capitalize", "Hello, wörld  "},
    {"s[0]", "H"},
    {"s[-1]", " "},
    {"s[1:4]", "ell"},
    {"s[::-1]", "  dlröW ,olleH"},
    {"s[::2]", "Hlo öl "},
    {"s[-5:]", "rld  "},
    {"s[:-3]", "Hello, Wörl"},
    {"s[10:2:-1]", "lröW ,ol"},
    {"l[5]", ""},
    {"l[-1]", "2"},
    {"l[1:]", "[1, 2]"},
    {"l[::-1]", "[2, 1, 3]"},
    {"l|sort", "[1, 2, 3]"},
    {"l|sort(reverse=true)", "[3, 2, 1]"},
    {"l|first", "3"},
    {"l|last", "2"},
    {"l|join(',')", "3,1,2"},
    {"l|sum", "6"},
    {"l|min", "1"},
    {"l|max", "3"},
    {"d", "{'b': 1, 'A': [1, 2, {'x': None}], 'c': 'q\\'\"\\n'}"},
    {"d|tojson", "{\"b\": 1, \"A\": [1, 2, {\"x\": null}], \"c\": \"q'\\\"\\n\"}"},
    {"d|tojson(indent=2)", "{\n  \"b\": 1,\n  \"A\": [\n    1,\n    2,\n    {\n      \"x\": null\n    }\n  ],\n  \"c\": \"q'\\\"\\n\"\n}"},
    {"l|tojson(indent=4)", "[\n    3,\n    1,\n    2\n]"},
    {"{}|tojson(indent=2)", "{}"},
    {"[]|tojson(indent=2)", "[]"},
    {"d|dictsort", "[('A', [1, 2, {'x': None}]), ('b', 1), ('c', 'q\\'\"\\n')]"},
    {"d|items|list", "[('b', 1), ('A', [1, 2, {'x': None}]), ('c', 'q\\'\"\\n')]"},
    {"d.items()|list", "[('b', 1), ('A', [1, 2, {'x': None}]), ('c', 'q\\'\"\\n')]"},
    {"d.keys()|list", "['b', 'A', 'c']"},
    {"d.values()|list", "[1, [1, 2, {'x': None}], 'q\\'\"\\n']"},
    {"d.get('b')", "1"},
    {"d.get('zz')", "None"},
    {"d.get('zz',7)", "7"},
    {"d.b", "1"},
    {"d['A'][2].x", "None"},
    {"d.zz", ""},
    {"d['zz'] is defined", "False"},
    {"msgs|map(attribute='role')|list", "['user', 'assistant', 'user']"},
    {"msgs|selectattr('role','equalto','user')|list|length", "2"},
    {"msgs|rejectattr('role','eq','user')|map(attribute='content')|join", "yo"},
    {"msgs|selectattr('n','defined')|list", "[{'role': 'assistant', 'content': 'yo', 'n': 2}]"},
    {"msgs|map(attribute='n',default=0)|list", "[0, 2, 0]"},
    {"items|select('odd')|list", "[1, 3, 5, 7]"},
    {"items|reject('divisibleby',3)|list", "[1, 2, 4, 5, 7]"},
    {"items|map('string')|list", "['1', '2', '3', '4', '5', '6', '7']"},
    {"items|batch(3)|list", "[[1, 2, 3], [4, 5, 6], [7]]"},
    {"items|batch(3,0)|list", "[[1, 2, 3], [4, 5, 6], [7, 0, 0]]"},
    {"['b','A','a']|unique|list", "['b', 'A']"},
    {"['b','A','a']|sort", "['A', 'a', 'b']"},
    {"['b','A','a']|sort(case_sensitive=true)", "['A', 'a', 'b']"},
    {"msgs|groupby('role')", "[('assistant', [{'role': 'assistant', 'content': 'yo', 'n': 2}]), ('user', [{'role': 'user', 'content': 'hi'}, {'role': 'user', 'content': 'B'}])]"},
    {"'x y z'.split()", "['x', 'y', 'z']"},
    {"'a,b,,c'.split(',')", "['a', 'b', '', 'c']"},
    {"'a,b,,c'.split(',',1)", "['a', 'b,,c']"},
    {"'a,b,,c'.rsplit(',',1)", "['a,b,', 'c']"},
    {"' a  b '.split(none,1)", "['a', 'b ']"},
    {"' a  b c '.rsplit(none,1)", "[' a  b', 'c']"},
    {"'a\\nb\\r\\nc'.splitlines()", "['a', 'b', 'c']"},
    {"'abcabc'.replace('b','X')", "aXcaXc"},
    {"'abcabc'.replace('b','X',1)", "aXcabc"},
    {"'abc'.replace('','-')", "-a-b-c-"},
    {"'abc'.find('c')", "2"},
    {"'abc'.find('z')", "-1"},
    {"'abc'.rfind('a')", "0"},
    {"'aXbX'.count('X')", "2"},
    {"','.join(['a','b'])", "a,b"},
    {"'abc'.startswith('ab')", "True"},
    {"'abc'.startswith(('x','a'))", "True"},
    {"'abc'.endswith('bc')", "True"},
    {"'xxabxx'.strip('x')", "ab"},
    {"'xxabxx'.lstrip('x')", "abxx"},
    {"'xxabxx'.rstrip('x')", "xxab"},
    {"'abc'.title()", "Abc"},
    {"\"they're bill's\".title()", "They'Re Bill'S"},
    {"\"they're bill's\"|title", "They're Bill's"},
    {"'foo-bar baz'|title", "Foo-Bar Baz"},
    {"'aBC'.capitalize()", "Abc"},
    {"'abc'.isdigit()", "False"},
    {"'123'.isdigit()", "True"},
    {"'a=b=c'.partition('=')", "('a', '=', 'b=c')"},
    {"'a=b=c'.rpartition('=')", "('a=b', '=', 'c')"},
    {"'abc'.removeprefix('a')", "bc"},
    {"'abc'.removesuffix('c')", "ab"},
    {"'a' ~ 1 ~ none ~ true ~ 1.5", "a1NoneTrue1.5"},
    {"[1]+[2]", "[1, 2]"},
    {"'ab'*3", "ababab"},
    {"[1]*2", "[1, 1]"},
    {"'1'|int", "1"},
    {"'x'|int", "0"},
    {"'x'|int(9)", "9"},
    {"'1.7'|int", "1"},
    {"3.7|int", "3"},
    {"'0x1f'|int(0,16)", "31"},
    {"'1.5'|float", "1.5"},
    {"'q'|float", "0.0"},
    {"1|float", "1.0"},
    {"-3|abs", "3"},
    {"2.5|round", "2.0"},
    {"3.5|round", "4.0"},
    {"2.567|round(2)", "2.57"},
    {"2.1|round(0,'ceil')", "3.0"},
    {"z|default('d')", "None"},
    {"z|default('d',true)", "d"},
    {"undefinedvar|default('d')", "d"},
    {"e|default('d',boolean=true)", "d"},
    {"'a\\nb\\n\\nc'|indent", "a\n    b\n\n    c"},
    {"'a\\nb\\n\\nc'|indent(2,true)", "  a\n  b\n\n  c"},
    {"'a\\nb\\n\\nc'|indent(2,false,true)", "a\n  b\n  \n  c"},
    {"'a\\nb\\n'|indent", "a\n    b\n"},
    {"'<a&\"b\">'|e", "&lt;a&amp;&#34;b&#34;&gt;"},
    {"'x'|safe + '<'", "x&lt;"},
    {"'<' + 'x'|safe", "&lt;x"},
    {"'x'|safe ~ '<'", "x<"},
    {"s is string", "True"},
    {"n is number", "True"},
    {"n is integer", "True"},
    {"f is float", "True"},
    {"t is boolean", "True"},
    {"t is number", "True"},
    {"t is integer", "False"},
    {"z is none", "True"},
    {"z is not none", "False"},
    {"d is mapping", "True"},
    {"l is iterable", "True"},
    {"s is sequence", "True"},
    {"d is sequence", "True"},
    {"l is sequence", "True"},
    {"undefinedvar is undefined", "True"},
    {"n is odd", "True"},
    {"n is even", "False"},
    {"n is divisibleby 5", "True"},
    {"n is divisibleby(2)", "False"},
    {"n is in [5]", "True"},
    {"n is eq 5", "True"},
    {"n is gt 3", "True"},
    {"n is lt(3)", "False"},
    {"t is true", "True"},
    {"t is false", "False"},
    {"1 is true", "False"},
    {"z is sameas none", "True"},
    {"'abc' is lower", "True"},
    {"'ABC' is upper", "True"},
    {"range is callable", "True"},
    {"range(3)|list", "[0, 1, 2]"},
    {"range(1,7,2)|list", "[1, 3, 5]"},
    {"range(5,0,-2)|list", "[5, 3, 1]"},
    {"dict(a=1,b=2)", "{'a': 1, 'b': 2}"},
    {"dict(a=1).a", "1"},
    {"namespace(a=1).a", "1"},
    {"namespace(a=1).b", ""},
    {"(1,2)", "(1, 2)"},
    {"(1,)", "(1,)"},
    {"()", "()"},
    {"1,2", "(1, 2)"},
    {"[1,'a',none,true,1.5]", "[1, 'a', None, True, 1.5]"},
    {"{'a':{'b':[1]}}", "{'a': {'b': [1]}}"},
    {"'it\\'s'", "it's"},
    {"[\"it's\"]", "[\"it's\"]"},
    {"['a\"b']", "['a\"b']"},
    {"['\\n\\\\']", "['\\n\\\\']"},
    {"\"\\u00e9\\x41\\t\"", "éA\t"},
    {"'a' 'b'", "ab"},
    {"'yes' if n>3 else 'no'", "yes"},
    {"'yes' if n>9", ""},
    {"('yes' if n>9)|default('k')", "k"},
    {"loop", ""},
    {"d.__class__", ""},
    {"''.__class__ is defined", "False"},
    {"l.append is defined", "False"},
    {"l|length>2 and n", "5"},
    {"not undefinedvar", "True"},
    {"undefinedvar == undefinedvar2", "True"},
    {"undefinedvar in [1]", "False"},
    {"1 in undefinedvar", "False"},
    {"undefinedvar|length", "0"},
    {"undefinedvar|list", "[]"},
    {"5|string", "5"},
    {"d|string", "{'b': 1, 'A': [1, 2, {'x': None}], 'c': 'q\\'\"\\n'}"},
    {"d|list", "['b', 'A', 'c']"},
    {"'abc'|list", "['a', 'b', 'c']"},
    {"'abc'|reverse", "cba"},
    {"l|reverse|list", "[2, 1, 3]"},
    {"'a b c'|replace(' ','_')", "a_b_c"},
    {"'%s'|length", "2"},
    {"'é'|upper", "É"},
    {"'ÀÉ'|lower", "àé"},
    {"'Привет'|upper", "ПРИВЕТ"},
    {"'Σ'|lower", "σ"},
    {"strftime_now('%Y-%m-%d %H:%M %A %B %j %%')", "2026-01-15 12:00 Thursday January 015 %"},
    {"d|tojson(sort_keys=true)", "{\"A\": [1, 2, {\"x\": null}], \"b\": 1, \"c\": \"q'\\\"\\n\"}"},
    {"'é\\u2028\\x07'|tojson", "\"é \\u0007\""},
    {"'é😀'|tojson(ensure_ascii=true)", "\"\\u00e9\\ud83d\\ude00\""},
    {"d|tojson(separators=(',',':'))", "{\"b\":1,\"A\":[1,2,{\"x\":null}],\"c\":\"q'\\\"\\n\"}"},
    {"[1.0,1e30,0.1]|tojson", "[1.0, 1e+30, 0.1]"},
    {"'a</b>'|tojson", "\"a</b>\""},
    {"msgs|map('upper')|list|length", "3"},
    {"msgs|sort(attribute='content')|map(attribute='content')|list", "['B', 'hi', 'yo']"},
    {"msgs|max(attribute='content')", "{'role': 'assistant', 'content': 'yo', 'n': 2}"},
    {"msgs[1:]|first", "{'role': 'assistant', 'content': 'yo', 'n': 2}"},
    {"[]|first", ""},
    {"[]|first|default('x')", "x"},
    {"-f", "-1.5"},
    {"+n", "5"},
    {"- 3", "-3"},
    {"5 - -3", "8"},
    {"l.0", "3"},
    {"msgs.0.role", "user"},
    {"(l)[0]", "3"},
    {"10 % 4", "2"},
    {"1_000", "1000"},
    {"0x1F", "31"},
    {"0b11", "3"},
    {"1.5e3", "1500.0"},
    {"9223372036854775807", "9223372036854775807"},
    {"'s'|string|string", "s"},
    {"s.strip().upper()[::-1]", "DLRÖW ,OLLEH"},
    {"d.A[0]", "1"},
    {"msgs[-1]['content']", "B"},
    {"msgs[-1].content|trim|length", "1"},
    {"l is not string and n is number", "True"},
    {"[l, l]|map('first')|list", "[3, 3]"},
    {"[[1,2],[3]]|map('join','-')|list", "['1-2', '3']"},
    {"[[1,2],[3]]|sum(start=[])", "[1, 2, 3]"},
    {"s.upper is defined", "True"},
    {"(1 if t else 2) + 3", "4"},
    {"{'a':1}|length", "1"},
    {"{1:2}[1]", "2"},
    {"{'x':1,'x':2}", "{'x': 2}"},
    {"[1,2,3][-2:]", "[2, 3]"},
    {"'abcdef'[1:5:2]", "bd"},
    {"'abc'[5:]", ""},
    {"'abc'[2:1]", ""},
    {"'a' == 'a'", "True"},
    {"[1,2]==[1,2]", "True"},
    {"(1,2)==[1,2]", "False"},
    {"{'a':1}=={'a':1}", "True"},
    {"1 != 2", "True"},
    {"z == none", "True"},
    {"z is none and t", "True"},
    {"true|string", "True"},
    {"true|tojson", "true"},
    {"0.5|round", "0.0"},
    {"1.5|round|int", "2"},
    {"'  '|trim|length", "0"},
    {"3|string + 'a'", "3a"},
    {"1 if z else 2 if t else 3", "2"},
    {"d.A | map('string') | join(' ')", "1 2 {'x': None}"},
};

static const struct example templates[] = {
    {"{% for x in l %}{{ loop.index }}/{{ loop.length }}:{{x}}{{ \",\" if not loop.last }}{% endfor %}", "1/3:3,2/3:1,3/3:2"},
    {"{% for x in l if x>1 %}{{loop.index0}}{{x}}{{loop.revindex}}{{loop.first}}{% else %}none{% endfor %}", "032True121False"},
    {"{% for x in [] %}a{% else %}empty{% endfor %}", "empty"},
    {"{% for k,v in d.items() %}{{k}}={{v}};{% endfor %}", "b=1;A=[1, 2, {'x': None}];c=q'\"\n;"},
    {"{% for k in d %}{{k}}{% endfor %}", "bAc"},
    {"{% for c in \"añb\" %}[{{c}}]{% endfor %}", "[a][ñ][b]"},
    {"{% for x in items %}{% if x==3 %}{% continue %}{% endif %}{% if x>5 %}{% break %}{% endif %}{{x}}{% endfor %}", "1245"},
    {"{% set a=1 %}{% for x in l %}{% set a=x %}{{a}}{% endfor %}{{a}}", "3121"},
    {"{% set ns=namespace(a=0) %}{% for x in l %}{% set ns.a=ns.a+x %}{% endfor %}{{ns.a}}", "6"},
    {"{% set a,b=1,2 %}{{a}}{{b}}", "12"},
    {"{% set x %}hi {{n}}{% endset %}[{{x}}]", "[hi 5]"},
    {"{% set x | upper | trim %} hi {{n}} {% endset %}[{{x}}]", "[HI 5]"},
    {"{% macro m(a,b=2,c=a) %}{{a}}-{{b}}-{{c}}{% endmacro %}{{m(1)}}|{{m(1,3)}}|{{m(b=5,a=4)}}|{{m()}}", "1-2-1|1-3-1|4-5-4|-2-"},
    {"{% macro f(n) %}{{n}}{% if n>0 %}{{f(n-1)}}{% endif %}{% endmacro %}{{f(5)}}", "543210"},
    {"{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}in {{n}}{% endcall %}", "<in 5>"},
    {"{% macro m() %}<{{ caller(7) }}>{% endmacro %}{% call(x) m() %}in {{x}}{% endcall %}", "<in 7>"},
    {"{% filter upper %}abc {{n}}{% endfilter %}", "ABC 5"},
    {"{% with a=1,b=2 %}{{a}}{{b}}{% endwith %}{{a}}", "12"},
    {"{% raw %}{{ x }}{% if %}{% endraw %}|", "{{ x }}{% if %}|"},
    {"a {# c #} b", "a  b"},
    {"a\n  {# c #}\nb", "a\nb"},
    {"a\n  {% if t %}\n  x\n  {% endif %}\nb\n", "a\n  x\nb"},
    {"a\n  {%- if t -%}\n  x\n  {%- endif -%}\nb", "axb"},
    {"a\n  {%+ if t %}\n  x\n  {% endif +%}\nb", "a\n    x\n\nb"},
    {"  {{ n }}  \n{{- n -}}  \n z", "  55z"},
    {"{% if n>9 %}a{% elif n>4 %}b{% else %}c{% endif %}", "b"},
    {"{% if z %}a{% elif e %}b{% endif %}", ""},
    {"\n{% for a in [1,2] %}{% for b in [3,4] %}{{ loop.index }}{{ a }}{{ b }} {% endfor %}{% endfor %}\n", "\n113 214 123 224 "},
    {"{% for x in l recursive %}{{x}}{{ loop([9]) if x==1 }}{% endfor %}", "3192"},
    {"{% for x in l %}{{loop.previtem}}<{{loop.nextitem}};{% endfor %}", "<1;3<2;1<;"},
    {"{% for x in l %}{{loop.cycle('a','b')}}{% endfor %}", "aba"},
    {"{% for x in [1,1,2] %}{{loop.changed(x)}}{% endfor %}", "TrueFalseTrue"},
    {"{% for m in msgs %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}{% endif %}{{ m.content }}{% endfor %}", "hiyoB"},
    {"{% set x = 1 %}", ""},
    {"{%- set x = [1,\n 2,\n 3] -%}\n{{ x|length }}", "3"},
    {"{% for a, (b, c) in [(1,(2,3))] %}{{a}}{{b}}{{c}}{% endfor %}", "123"},
    {"{% set ns = namespace() %}{% set ns.x = 'a' %}{% if ns.x %}{{ ns.x }}{% endif %}", "a"},
    {"{% macro a() %}{{ q }}{% endmacro %}{% set q = 3 %}{{ a() }}", "3"},
    {"{% for i in range(3) %}{% set x = i %}{% if x == 1 %}{% set x = 9 %}{% endif %}{{x}}{% endfor %}", "092"},
    {"{%set x=1%}{{x}}{%if x%}y{%endif%}", "1y"},
    {"{{- '  a  ' -}}   b", "  a  b"},
    {"a{{ \"\\n\" }}\n{%- if t %}\n\nb\n{%- endif %}\nc", "a\n\nbc"},
    {"{% set x = [\"a\"] + [\"b\"] %}{{ x }}{{ x is sequence }}", "['a', 'b']True"},
    {"{% set g = msgs|map(attribute='role') %}{{ g|list }}{{ g|list }}", "['user', 'assistant', 'user'][]"},
    {"{% for x in undefinedvar %}a{% else %}b{% endfor %}", "b"},
    {"{% if n is defined and n is not none %}ok{% endif %}", "ok"},
    {"{{ \"a\" if t }}{{ \"b\" if not t }}", "a"},
    {"{% for x in l -%}\n   {{ x }}\n{%- endfor %}|", "312|"},
    {"{% if t %}{# c #}\n k{% endif %}\n  {# only comment #}\nl", " kl"},
    {"{% macro m(x) -%}\n  [{{ x }}]\n{%- endmacro %}\n{{ m(1) }}\n{{ m(2) }}", "[1]\n[2]"},
    {"{{ {'a': 1, 'b': [1,2]} | tojson }}{{ [{\"x\": {}}] | tojson(indent=1) }}", "{\"a\": 1, \"b\": [1, 2]}[\n {\n  \"x\": {}\n }\n]"},
    {"\ntext before\n    {%- for m in msgs %}\n    {{ m.role }}: {{ m.content }}\n    {%- endfor %}\n", "\ntext before    user: hi    assistant: yo    user: B"},
    {"{% generation %}a{{ n }}{% endgeneration %}b", "a5b"},
};

static const struct example errors[] = {
    {"{{ nowhere.x }}", "line 1: 'nowhere' is undefined"},
    {"\n\n{{ d.zz.yy }}", "line 3: 'dict object' has no attribute 'zz'"},
    {"{{ 'abc'.index('z') }}", "substring not found"},
    {"{{ ','.join([1]) }}", "sequence item 0: expected str instance, int found"},
    {"{{ 'a' + 1 }}", "can only concatenate str (not \"int\") to str"},
    {"{{ 1 + 'a' }}", "unsupported operand type(s) for +: 'int' and 'str'"},
    {"{{ [1]+'a' }}", "can only concatenate list (not \"str\") to list"},
    {"{{ none+1 }}", "unsupported operand type(s) for +: 'NoneType' and 'int'"},
    {"{{ 9223372036854775807 + 1 }}", "64 bits"},
    {"{{ -9223372036854775807 - 2 }}", "64 bits"},
    {"{{ (-9223372036854775807 - 1) // -1 }}", "64 bits"},
    {"{{ 9223372036854775808 }}", "64 bits"},
    {"{{ 'x'+nowhere }}", "'nowhere' is undefined"},
    {"{{ 'a' < 1 }}", "'<' not supported between instances of 'str' and 'int'"},
    {"{{ s.__class__.__mro__ }}", "no attribute '__class__'"},
    {"{{ l.append(1) }}", "access to attribute 'append' of 'list' object is unsafe"},
    {"{{ d.pop('b') }}", "access to attribute 'pop' of 'dict' object is unsafe"},
    {"{{ 5() }}", "'int' object is not callable"},
    {"{{ s.nope() }}", "'str object' has no attribute 'nope'"},
    {"{{ s|nope }}", "no filter named 'nope'"},
    {"{{ s is nope }}", "no test named 'nope'"},
    {"{{ 1 in 5 }}", "argument of type 'int' is not iterable"},
    {"{{ 5 in 'abc' }}", "requires string as left operand, not int"},
    {"{{ 5|length }}", "object of type 'int' has no len()"},
    {"{{ s|trim(1) }}", "want a string as argument, found int"},
    {"{{ s|trim('a', 'b') }}", "trim takes at most 1 arguments, found 2"},
    {"{{ s|trim(sides=1) }}", "trim takes no argument of that name"},
    {"{{ s|trim('a', chars='b') }}", "two values for 'chars'"},
    {"{{ -l }}", "bad operand type for unary -: 'list'"},
    {"{% set a,b=[1,2,3] %}", "too many values to unpack"},
    {"{% set a,b=[1] %}", "not enough values to unpack"},
    {"{% macro m(a) %}{% endmacro %}{{m(1,2)}}", "macro 'm' takes not more than 1 arguments"},
    {"{% macro m(a) %}{% endmacro %}{{m(q=2)}}", "macro 'm' takes no argument of that name"},
    {"{{ raise_exception('bad ' ~ n) }}", "line 1: bad 5"},
    {"{{ raise_exception('two\\nlines') }}", "line 1: two lines"},
    {"x\ny {{ 1/0 }}", "line 2: division by zero"},
    {"{{ l[::0] }}", "slice step cannot be zero"},
    {"{% if %}", "want an expression"},
    {"{{ (1 }}", "closing bracket"},
    {"{{ 1", "without its end \"}}\""},
    {"{% if t %}x", "want \"elif\""},
    {"{% endif %}", "want a statement"},
    {"\n{# x", "line 2: a comment without its end"},
    {"{% raw %}x", "a raw block without its end"},
    {"{% include 'x' %}", "want a statement"},
    {"{{ 'abc }}", "a string without its closing quote"},
    {"{{ @ }}", "unexpected character \"@\""},
    {"{% set d.x = 1 %}", "cannot assign attribute on non-namespace object"},
    {"{{ msgs|map(attribute='role')|tojson }}", "Object of type generator is not JSON serializable"},
    {"{% for x in 5 %}{% endfor %}", "'int' object is not iterable"},
    {"{% break %}", "outside a loop"},
};

// ---- bounds: each ends in an error, and soon ----

static const struct example bounds[] = {
    {"{% for i in range(1000000000) %}{% endfor %}", "steps"},
    {"{% for i in range(9000) %}{% for k in range(9000) %}x{% endfor %}{% endfor %}", "the template"},
    {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nests too deep"},
    {"{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "nests too deep"},
    {"{% set ns = namespace(s='x') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}", "4 MiB"},
    {"{% set ns = namespace(l=[1]) %}{% for i in range(40) %}{% set ns.l = ns.l + ns.l %}{% endfor %}", "steps"},
    {"{{ 'x' * 1000000000000 }}", "the template takes more than"},
    {"{{ [1] * 1000000000000 }}", "steps"},
    {"{{ 'x'|indent(1000000000) }}", "4 MiB"},
    {"{% set a = 'x' * 100000 %}{% for i in range(9000) %}{{ a }}{% endfor %}", "4 MiB"},
    {"{% set a = 'a' * 99999 ~ 'b' %}{% set b = 'a' * 200000 %}{{ a in b }}", "steps"},
    {"{% set ns = namespace(l=[]) %}{% for i in range(200) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}", "levels"},
    {"{% set ns = namespace(l=[]) %}{% for i in range(200) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l|tojson }}",
     "levels"},
};
// clang-format on

// `head` n times, then `middle`, then `tail` n times. Returns new.
static char *nested(const char *head, const char *middle, const char *tail, size_t n) {
    char *out = calloc(n * (strlen(head) + strlen(tail)) + strlen(middle) + 1, 1), *at = out;
    for (size_t i = 0; i < n; i++)
        at = stpcpy(at, head);
    at = stpcpy(at, middle);
    for (size_t i = 0; i < n; i++)
        at = stpcpy(at, tail);
    return out;
}

static void check_nesting(const char *head, const char *middle, const char *tail, const char *want) {
    char *fits = nested(head, middle, tail, 64), *deep = nested(head, middle, tail, 20000);
    check_text(fits, want);
    check_error(deep, "too many");
    free(fits);
    free(deep);
}

static void check_bounds(void) {
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        check_error(bounds[i].text, bounds[i].want);
    check_nesting("{% if t %}", "x", "{% endif %}", "x");
    check_nesting("{% with %}", "x", "{% endwith %}", "x");
    char *fits = nested("(", "1", ")", 64), *text_of_it = calloc(strlen(fits) + 7, 1);
    stpcpy(stpcpy(stpcpy(text_of_it, "{{ "), fits), " }}");
    check_text(text_of_it, "1");
    free(fits);
    free(text_of_it);
    char *brackets = nested("{{ [", "", "", 1), *open = nested("[", "", "", 200000);
    char *both = calloc(strlen(brackets) + strlen(open) + 1, 1);
    stpcpy(stpcpy(both, brackets), open);
    check_error(both, "too many");
    free(brackets);
    free(open);
    free(both);
    // Chains are not nesting.
    char *elifs = nested("{% if z %}", "", "", 1),
         *more = nested("{% elif z %}b", "{% else %}c{% endif %}", "", 500);
    char *chain = calloc(strlen(elifs) + strlen(more) + 1, 1);
    stpcpy(stpcpy(chain, elifs), more);
    check_text(chain, "c");
    free(elifs);
    free(more);
    free(chain);
    char *sum = nested("1 + ", "0", "", 5000), *whole = calloc(strlen(sum) + 7, 1);
    stpcpy(stpcpy(stpcpy(whole, "{{ "), sum), " }}");
    check_text(whole, "5000");
    free(sum);
    free(whole);
    char *nots = nested("not ", "1", "", 100000), *negated = calloc(strlen(nots) + 7, 1);
    stpcpy(stpcpy(stpcpy(negated, "{{ "), nots), " }}");
    check_error(negated, "too many");
    free(nots);
    free(negated);
}

// Every byte of the output that came from a variable is marked, through whatever was done with it.
static void check_origin(void) {
    static const struct example cases[] = {
        {"<{{ s }}>", "0111111111111111"
                      "0"},
        {"{{ '<' + s|trim + '>' }}", "01111111111111"
                                     "0"},
        {"{{ '<' ~ s[0:2] ~ n }}", "0110"},
        {"{{ s.split(',')[0].upper() }}!", "111110"},
        {"{{ s|replace('Hello', 'x')|trim }}", "011111111"},
        {"{{ [e ~ 'q']|tojson }}{{ msgs[0].content|tojson }}", "00000"
                                                               "0110"},
        {"{% set x %}a{{ msgs[0].role }}{% endset %}{{ x }}", "01111"},
        {"{{ 'user' if msgs[0].role == 'user' }}", "0000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct jinja_run *r;
        struct jinja_text out = {0};
        struct err err = {0};
        char marks[64] = {0};
        CHECK(render(cases[i].text, &r, &out, &err));
        for (size_t k = 0; k < out.len && k < sizeof marks - 1; k++)
            marks[k] = out.is_input && out.is_input[k] ? '1' : '0';
        CHECK_STR(marks, cases[i].want);
        jinja_run_destroy(r);
    }
}

// No byte of a template, and no cut of one, may do worse than an error.
static void check_hostile(void) {
    static const char base[] =
        "{%- for m in msgs if m.role is defined -%}{{ m['content'][1:] | trim ~ '\\u00e9' }}"
        "{% elif %}{#- c -#}{% raw %}{{{% endraw %}{% endfor %}{{ {'a': [1.5, (2,)]} | tojson }}";
    char copy[sizeof base];
    for (size_t i = 0; i < sizeof base - 1; i++) {
        for (size_t k = 0; k < 12; k++) {
            memcpy(copy, base, sizeof base);
            copy[i] = "\xFF{%}'\\\"(\n#-\x80"[k];
            if (k == 0)
                copy[i] = 0;
            struct err err = {0};
            struct jinja_template *t = jinja_compile(copy, k == 1 ? i : sizeof base - 1, &err);
            struct jinja_run *r = jinja_run_create();
            struct jinja_text out;
            set_variables(r);
            bool ok = t && jinja_render(r, t, &out, &err);
            CHECK(ok || (err.code != ERR_NONE && err.msg[0]));
            jinja_run_destroy(r);
            jinja_template_destroy(t);
        }
    }
}

static void check_refusal(void) {
    struct jinja_run *r;
    struct jinja_text out;
    struct err err = {0};
    CHECK(!render("{{ raise_exception('roles must alternate') }}", &r, &out, &err));
    CHECK_ERR(&err, ERR_INVALID_VALUE, "line 1: roles must alternate");
    jinja_run_destroy(r);
    struct err other = {0};
    CHECK(!render("{{ 1/0 }}", &r, &out, &other));
    CHECK_ERR(&other, ERR_MODEL, "line 1: division by zero");
    jinja_run_destroy(r);
}

int main(void) {
    for (size_t i = 0; i < sizeof expressions / sizeof *expressions; i++) {
        char template[256];
        snprintf(template, sizeof template, "{{ %s }}", expressions[i].text);
        check_text(template, expressions[i].want);
    }
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++)
        check_text(templates[i].text, templates[i].want);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        check_error(errors[i].text, errors[i].want);
    check_refusal();
    check_bounds();
    check_origin();
    check_hostile();
    return check_result();
}
