// f32 matrix products by OpenBLAS, loaded at run time so that the program also runs without it.
//
// OpenBLAS 0.3.21 takes processors that it does not know for Prescott, 4-5 times too slow, so its kernels
// are chosen for it. Its own threads are turned off: the compute pool splits the work.
#include "base/mem.h"
#include "compute/cpu_backend.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>

enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 }; // of the CBLAS interface

typedef void (*sgemm_fn)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                         const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
typedef void (*set_threads_fn)(int n);

struct blas {
    void *library;
    sgemm_fn sgemm;
};

struct blas *blas_open(const char *core) {
    if (core)
        setenv("OPENBLAS_CORETYPE", core, 0); // what the user set stays
    setenv("OPENBLAS_NUM_THREADS", "1", 1);   // read when loaded: no thread is even started
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return NULL;
    // POSIX lets dlsym's object pointer be a function's; ISO C has no cast for it.
    sgemm_fn sgemm;
    set_threads_fn set_threads;
    *(void **)&sgemm = dlsym(library, "cblas_sgemm");
    *(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
    if (!sgemm || !set_threads) {
        dlclose(library);
        return NULL;
    }
    set_threads(1); // also where another part of the process had loaded it before
    struct blas *b = xcalloc(1, sizeof *b);
    *b = (struct blas){library, sgemm};
    return b;
}

void blas_close(struct blas *b) {
    if (!b)
        return;
    dlclose(b->library);
    free(b);
}

void blas_matmul(const struct blas *b, float *y, size_t y_stride, const float *w, const float *x,
                 size_t n_rows, size_t n_out, size_t n_in, bool add) {
    b->sgemm(ROW_MAJOR, NO_TRANS, TRANS, (int)n_rows, (int)n_out, (int)n_in, 1.0f, x, (int)n_in, w, (int)n_in,
             add ? 1.0f : 0.0f, y, (int)y_stride);
}
