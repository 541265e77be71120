// The grids of the codebook types iq1 to iq3: rows of small values that a block names by number.
#ifndef COMPUTE_QUANT_GRIDS_H
#define COMPUTE_QUANT_GRIDS_H

#include <stdint.h>

// 8 values a row, 2 bits each: 8, 25 and 43.
extern const uint16_t quant_iq2_xxs_grid[256];
extern const uint16_t quant_iq2_xs_grid[512];
extern const uint16_t quant_iq2_s_grid[1024];

// 4 values a row, 4 bits each: 4, 12, 20, 28, 36, 44, 52 and 62.
extern const uint16_t quant_iq3_xxs_grid[256];

// 4 values a row, 4 bits each: the odd numbers 1 to 15.
extern const uint16_t quant_iq3_s_grid[512];

// 8 values a row, 2 bits each: -1, 0 and 1.
extern const uint16_t quant_iq1_grid[2048];

#endif
