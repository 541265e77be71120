// Code points in the classes that tokenizers tell apart.
#ifndef LLM_UNICODE_H
#define LLM_UNICODE_H

#include <stddef.h>
#include <stdint.h>

enum unicode_class {               // flags; the general categories of Unicode
    UNICODE_UPPER = 1 << 0,        // Lu, Lt
    UNICODE_LOWER = 1 << 1,        // Ll
    UNICODE_OTHER_LETTER = 1 << 2, // Lm, Lo
    UNICODE_MARK = 1 << 3,         // M
    UNICODE_NUMBER = 1 << 4,       // N
    UNICODE_PUNCTUATION = 1 << 5,  // P
    UNICODE_SPACE = 1 << 6,        // the property White_Space
    UNICODE_CASED = 1 << 7,        // in DeepSeek LLM's list of letters
    UNICODE_CONTROL = 1 << 8,      // C
    UNICODE_ACCENT = 1 << 9,       // Mn
    UNICODE_LETTER = UNICODE_UPPER | UNICODE_LOWER | UNICODE_OTHER_LETTER,
};

unsigned unicode_class(uint32_t code_point);

// The code point in lower case, canonically decomposed, without accents: writes 0 to 3 code points, returns
// how many.
size_t unicode_bare(uint32_t code_point, uint32_t out[3]);

struct character { // of a text
    uint32_t code_point;
    uint32_t len;   // bytes; 0 behind the text's end
    unsigned class; // enum unicode_class; 0 for a byte that is not valid UTF-8, and behind the end
};

struct character character_at(const char *s, size_t len, size_t at); // at <= len

#endif
