// Tensors of an mmproj file, found by name, their shape checked, given to the backend.
#ifndef VISION_VISION_BIND_H
#define VISION_VISION_BIND_H

#include "vision/vision_model.h"

enum { BIND_ANY = 0 }; // as n_out: whatever the file has, at most 2^18

// All: false with ERR_MODEL naming the tensor, or ERR_NOMEM. What is bound is released by vision_model_clear.

const struct tensor *vision_find(const struct vision_model *m, const char *name, struct err *err);

// A vector [n] in the backend; a missing one leaves *out NULL, which is an error only where it is required.
bool vision_bind_vector(struct vision_model *m, float **out, const char *name, size_t n, bool required,
                        struct err *err);
// A matrix [n_rows, n] in the backend.
bool vision_bind_table(struct vision_model *m, float **out, const char *name, size_t n_rows, size_t n,
                       struct err *err);
// prefix.weight [n] and, but for an RMS norm, prefix.bias [n].
bool vision_bind_norm(struct vision_model *m, struct vision_norm *norm, const char *prefix, size_t n,
                      bool rms, struct err *err);

// prefix.weight [n_out, n_in] and, where the file has it, prefix.bias [n_out].
bool vision_bind_linear(struct vision_model *m, struct vision_linear *linear, const char *prefix,
                        size_t n_out, size_t n_in, struct err *err);
// As vision_bind_linear; a missing bias is an error.
bool vision_bind_biased(struct vision_model *m, struct vision_linear *linear, const char *prefix,
                        size_t n_out, size_t n_in, struct err *err);
// As vision_bind_linear for a weight that is stored [n_in, n_out].
bool vision_bind_transposed(struct vision_model *m, struct vision_linear *linear, const char *prefix,
                            size_t n_out, size_t n_in, struct err *err);
// As vision_bind_linear for f32 values [n_out, n_in] in host memory, which the model takes.
bool vision_bind_derived(struct vision_model *m, struct vision_linear *linear, const char *prefix,
                         float *values, size_t n_out, size_t n_in, struct err *err);

// All values of a tensor, [n] f32. Returns new host memory.
float *vision_read_tensor(struct vision_model *m, const struct tensor *t, size_t n, struct err *err);

#endif
