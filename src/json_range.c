// Takes bounds of an integer, gives the GBNF of its decimal texts.
//
// min .. max of as many digits: the common first digits, then the first digit that differs splits what is left:
// below min's own (its tail and up), between (any tail), max's own (its tail and down).
#include "json_schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DIGITS_MAX = 20 };

static bool put(struct buf *out, const char *text, struct err *err) {
    return buf_append_str(out, text, err);
}

static bool put_digits(struct buf *out, char from, char to, size_t n, struct err *err) {
    char text[32];
    if (from == to)
        snprintf(text, sizeof text, "\"%c\" ", from);
    else
        snprintf(text, sizeof text, "[%c-%c]{%zu} ", from, to, n);
    return n == 0 || put(out, text, err);
}

// Texts of n digits from lo to hi.
static bool put_span(struct buf *out, const char *lo, const char *hi, size_t n, struct err *err) {
    size_t same = 0;
    for (; same < n && lo[same] == hi[same]; same++)
        if (!put_digits(out, lo[same], lo[same], 1, err))
            return false;
    if (same == n)
        return true;
    static const char nines[] = "99999999999999999999", zeros[] = "00000000000000000000";
    size_t tail = n - same - 1;
    const char *lo_tail = lo + same + 1, *hi_tail = hi + same + 1;
    bool lo_whole = strncmp(lo_tail, zeros, tail) == 0, hi_whole = strncmp(hi_tail, nines, tail) == 0;
    char from = (char)(lo[same] + !lo_whole), to = (char)(hi[same] - !hi_whole);
    bool first = true;
    if (!put(out, "(", err))
        return false;
    if (!lo_whole) {
        first = false;
        if (!put_digits(out, lo[same], lo[same], 1, err) || !put_span(out, lo_tail, nines, tail, err))
            return false;
    }
    if (from <= to) {
        if ((!first && !put(out, "| ", err)) || !put_digits(out, from, to, 1, err) ||
            !put_digits(out, '0', '9', tail, err))
            return false;
        first = false;
    }
    if (!hi_whole && ((!first && !put(out, "| ", err)) || !put_digits(out, hi[same], hi[same], 1, err) ||
                      !put_span(out, zeros, hi_tail, tail, err)))
        return false;
    return put(out, ") ", err);
}

// Alternatives, each behind "| " but the first.
static bool put_unsigned(struct buf *out, uint64_t min, uint64_t max, const char *sign, bool *first,
                         struct err *err) {
    char lo[DIGITS_MAX + 1], hi[DIGITS_MAX + 1];
    while (min <= max) {
        size_t n = (size_t)snprintf(lo, sizeof lo, "%" PRIu64, min);
        uint64_t longest = 9; // the last of n digits
        for (size_t i = 1; i < n; i++)
            longest = longest > (UINT64_MAX - 9) / 10 ? UINT64_MAX : longest * 10 + 9;
        uint64_t last = max < longest ? max : longest;
        snprintf(hi, sizeof hi, "%" PRIu64, last);
        if ((!*first && !put(out, "| ", err)) || !put(out, sign, err) || !put_span(out, lo, hi, n, err))
            return false;
        *first = false;
        if (last == max)
            break;
        min = last + 1;
    }
    return true;
}

// n digits and more, from min on.
static bool put_from(struct buf *out, uint64_t min, const char *sign, bool *first, struct err *err) {
    char text[64];
    uint64_t last = 9, n = 1;
    while (last < min) {
        last = last * 10 + 9;
        n++;
    }
    if (!put_unsigned(out, min, last, sign, first, err))
        return false;
    snprintf(text, sizeof text, "| %s[1-9] [0-9]{%" PRIu64 ",%d} ", sign, n, DIGITS_MAX + 10);
    return put(out, text, err);
}

bool json_range_to_gbnf(const long long *min, const long long *max, struct buf *out, struct err *err) {
    const long long limit = 1000000000000000000; // nothing above overflows in these digits
    if ((min && (*min < -limit || *min > limit)) || (max && (*max < -limit || *max > limit)))
        return err_set(err, ERR_INVALID_VALUE, "bounds of an integer: expected at most %lld either way",
                       limit);
    if (min && max && *min > *max)
        return err_set(err, ERR_INVALID_VALUE, "minimum %lld is above maximum %lld", *min, *max);
    bool first = true;
    if (!min || *min < 0) { // what is below 0, by its absolute value
        uint64_t least = max && *max < 0 ? (uint64_t) - *max : 1;
        if (min ? !put_unsigned(out, least, (uint64_t) - *min, "\"-\" ", &first, err)
                : !put_from(out, least, "\"-\" ", &first, err))
            return false;
    }
    if (max && *max < 0)
        return true;
    uint64_t least = min && *min > 0 ? (uint64_t)*min : 0;
    return max ? put_unsigned(out, least, (uint64_t)*max, "", &first, err)
               : put_from(out, least, "", &first, err);
}
