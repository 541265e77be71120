// JSON Schema -> GBNF: a grammar of the JSON texts that a schema allows.
#ifndef JSON_SCHEMA_H
#define JSON_SCHEMA_H

#include "base/buf.h"
#include "base/json.h"

// Appends the grammar. ERR_INVALID_VALUE names what a grammar cannot hold, or which limit is passed, and where in
// the schema it stands. Properties come in the order of the schema.
bool json_schema_to_gbnf(json_t *schema, struct buf *out, struct err *err);

// A regular expression (the pattern of a string) -> GBNF of the inside of a JSON string: literals, escapes, sets,
// groups, | * + ? {n,m}, and ^ and $ at its ends only. For json_schema.c.
bool json_pattern_to_gbnf(const char *pattern, struct buf *out, struct err *err);

// The decimal texts of the integers min .. max; either may be absent. For json_schema.c.
bool json_range_to_gbnf(const long long *min, const long long *max, struct buf *out, struct err *err);

// Adds the keywords of `from` to the schema `into`, so that it allows what both do: properties and required
// together, the narrower bounds, the common types and enum values. ERR_INVALID_VALUE names a keyword that both have
// and that cannot be merged. For json_schema.c.
bool json_merge_into(json_t *into, json_t *from, struct err *err);
// Whether a keyword says anything about values: not $defs, title and their like.
bool json_merge_counts(const char *keyword);

#endif
