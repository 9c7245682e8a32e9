/* The stream for CPU memory: initlib/stream.py says what is computed, and this computes the same bits, fast.
 *
 * out[offset] = weight(key, base + pattern[k]), for the blocks of `initlib/runs.py`. The loops run over small arrays
 * of lanes, so that the compiler makes each step one vector instruction per register; no Python object is in them. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LANES 64
#define TABLE_ROWS 249

#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static __inline
#endif

/* What leaves the kernel; the values are known to initlib/draw.py. */
enum { WORDS, FLOAT32, FLOAT64, FLOAT16, BFLOAT16 };

typedef struct {
    uint64_t key;
    int normal;           /* 0: uniform noise */
    uint32_t window_lo;   /* the window of the CDF, for normal noise */
    uint64_t window_width;
    int32_t low, high;    /* the clamp of the noise */
    double scale, mean;
    int dtype;
    const int32_t *table; /* four columns of TABLE_ROWS */
} Law;

typedef struct {
    const uint64_t *bases;
    const int64_t *offsets;
    int64_t rows, row, block, stride;
    uint64_t step;
    const uint32_t *pattern; /* NULL: 0, 1, 2 ... */
    const int64_t *scatter;  /* NULL: 0, 1, 2 ... */
} Runs;

/* ------------------------------------------------------------------------------------------------ the word */

#define SKEIN_KS_PARITY 0x1BD11BDAu

static const int ROTATIONS[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};

INLINE void threefry(uint64_t key, uint32_t *x0, uint32_t *x1, int lanes)
{
    const uint32_t schedule[3] = {(uint32_t)(key >> 32), (uint32_t)key,
                                  (uint32_t)(key >> 32) ^ (uint32_t)key ^ SKEIN_KS_PARITY};
    for (int j = 0; j < lanes; j++) {
        x0[j] += schedule[0];
        x1[j] += schedule[1];
    }
    for (int group = 0; group < 5; group++) {
        for (int round = 0; round < 4; round++) {
            const int count = ROTATIONS[group % 2][round];
            for (int j = 0; j < lanes; j++) {
                x0[j] += x1[j];
                x1[j] = ((x1[j] << count) | (x1[j] >> (32 - count))) ^ x0[j];
            }
        }
        for (int j = 0; j < lanes; j++) {
            x0[j] += schedule[(group + 1) % 3];
            x1[j] += schedule[(group + 2) % 3] + (uint32_t)(group + 1);
        }
    }
}

INLINE void words(const Law *law, uint64_t base, const uint32_t *pattern, uint32_t *word)
{
    uint32_t x0[LANES];
    const uint32_t high = (uint32_t)(base >> 32), low = (uint32_t)base;
    for (uint32_t j = 0; j < LANES; j++) {
        word[j] = low + (pattern ? pattern[j] : j);
        x0[j] = high + (word[j] < low);
    }
    threefry(law->key, x0, word, LANES);
    for (int j = 0; j < LANES; j++)
        word[j] ^= x0[j];
}

/* ----------------------------------------------------------------------------------------------- the noise */

INLINE int32_t clamp(int32_t n, int32_t low, int32_t high)
{
    n = n < low ? low : n;
    return n > high ? high : n;
}

INLINE void uniform(const Law *law, const uint32_t *word, int32_t *noise)
{
    for (int j = 0; j < LANES; j++)
        noise[j] = clamp(((int32_t)word[j] >> 7) | 1, law->low, law->high);
}

INLINE void normal(const Law *law, const uint32_t *word, int32_t *noise)
{
    const int32_t *c0 = law->table, *c1 = c0 + TABLE_ROWS, *c2 = c1 + TABLE_ROWS, *c3 = c2 + TABLE_ROWS;
    for (int j = 0; j < LANES; j++) {
        const int32_t p = (int32_t)(law->window_lo + (uint32_t)((word[j] * law->window_width) >> 32));
        const int32_t upper = p >> 31;
        const float tail = (float)((p ^ upper) | 1);
        int32_t bits;
        memcpy(&bits, &tail, sizeof bits);
        const int32_t row = (bits >> 20) - (127 << 3), u = bits & 0xFFFFF, v = u >> 5;
        int32_t q = c2[row] + ((c3[row] * v) >> 15);
        q = c1[row] + ((q * v) >> 15);
        const int32_t n = c0[row] + ((q * (u >> 8) + ((q * (u & 255)) >> 8)) >> 12);
        noise[j] = clamp((n ^ ~upper) - ~upper, law->low, law->high);
    }
}

/* ---------------------------------------------------------------------------------------------- the weight */

INLINE uint32_t float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Round to nearest even. A weight is never NaN. */
INLINE uint16_t bfloat16(float x)
{
    const uint32_t bits = float_bits(x);
    return (uint16_t)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

INLINE uint16_t float16(float x)
{
    const uint32_t bits = float_bits(x), sign = (bits >> 16) & 0x8000, size = bits & 0x7FFFFFFF;
    const uint32_t rounded = ((size + 0xFFF + ((size >> 13) & 1)) >> 13) - (112 << 10);
    /* Below 2**-14 the steps are 2**-24 wide, as float32's are between 1/2 and 1: adding 1/2 rounds to them. */
    const uint32_t subnormal = float_bits((x < 0 ? -x : x) + 0.5f) - 0x3F000000;
    const uint32_t half = size < 0x38800000 ? subnormal : rounded > 0x7C00 ? 0x7C00 : rounded;
    return (uint16_t)(sign | half);
}

INLINE float weight(const Law *law, int32_t noise)
{
    const float product = (float)noise * (float)law->scale;
    return law->mean != 0 ? product + (float)law->mean : product;
}

INLINE void store(const Law *law, const int32_t *noise, void *out)
{
    switch (law->dtype) {
    case FLOAT32:
        for (int j = 0; j < LANES; j++)
            ((float *)out)[j] = weight(law, noise[j]);
        break;
    case FLOAT64:
        for (int j = 0; j < LANES; j++) {
            const double product = (double)noise[j] * law->scale;
            ((double *)out)[j] = law->mean != 0 ? product + law->mean : product;
        }
        break;
    case FLOAT16:
        for (int j = 0; j < LANES; j++)
            ((uint16_t *)out)[j] = float16(weight(law, noise[j]));
        break;
    case BFLOAT16:
        for (int j = 0; j < LANES; j++)
            ((uint16_t *)out)[j] = bfloat16(weight(law, noise[j]));
        break;
    }
}

/* LANES weights at base + pattern[0..LANES). */
INLINE void draw(const Law *law, uint64_t base, const uint32_t *pattern, void *out)
{
    uint32_t word[LANES];
    int32_t noise[LANES];
    words(law, base, pattern, word);
    if (law->dtype == WORDS) {
        memcpy(out, word, sizeof word);
        return;
    }
    if (law->normal)
        normal(law, word, noise);
    else
        uniform(law, word, noise);
    store(law, noise, out);
}

/* ------------------------------------------------------------------------------------------------ the memory */

static const size_t ITEMSIZE[] = {4, 4, 8, 2, 2};

INLINE void fill(const Law *law, const Runs *runs, char *out, int64_t first, int64_t last)
{
    const int64_t per_row = (runs->row + runs->block - 1) / runs->block;
    const size_t item = ITEMSIZE[law->dtype];
    uint64_t buffer[LANES]; /* room for LANES items of any dtype */
    uint32_t part[LANES];
    for (int64_t at = first; at < last; at++) {
        const int64_t row = at / per_row, block = at % per_row;
        const int64_t left = runs->row - block * runs->block;
        const int64_t count = left < runs->block ? left : runs->block;
        const uint64_t base = runs->bases[row] + (uint64_t)block * runs->step;
        char *target = out + (runs->offsets[row] + block * runs->stride) * (int64_t)item;
        for (int64_t k = 0; k < count; k += LANES) {
            const int64_t lanes = count - k < LANES ? count - k : LANES;
            const uint32_t *pattern = runs->pattern ? runs->pattern + k : NULL;
            const uint64_t start = runs->pattern ? base : base + (uint64_t)k;
            if (lanes == LANES && !runs->scatter) {
                draw(law, start, pattern, target + k * (int64_t)item);
                continue;
            }
            if (pattern && lanes < LANES) { /* no lane reads past the pattern */
                memset(part, 0, sizeof part);
                memcpy(part, pattern, (size_t)lanes * sizeof *part);
                pattern = part;
            }
            draw(law, start, pattern, buffer);
            if (!runs->scatter) {
                memcpy(target + k * (int64_t)item, buffer, (size_t)lanes * item);
                continue;
            }
            for (int64_t j = 0; j < lanes; j++)
                memcpy(target + runs->scatter[k + j] * (int64_t)item, (char *)buffer + j * (int64_t)item, item);
        }
    }
}

/* One more copy of the same code for each instruction set, and the best one that the processor has. */
typedef void Fill(const Law *, const Runs *, char *, int64_t, int64_t);

static void fill_baseline(const Law *law, const Runs *runs, char *out, int64_t first, int64_t last)
{
    fill(law, runs, out, first, last);
}

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#define X86_PATHS
__attribute__((target("avx2"))) static void fill_avx2(const Law *law, const Runs *runs, char *out, int64_t first,
                                                      int64_t last)
{
    fill(law, runs, out, first, last);
}

__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,prefer-vector-width=512"))) static void
fill_avx512(const Law *law, const Runs *runs, char *out, int64_t first, int64_t last)
{
    fill(law, runs, out, first, last);
}
#endif

typedef struct {
    const char *name;
    Fill *fill;
} Path;

/* The paths that this processor can take, best first. */
static int paths(Path *path)
{
    int count = 0;
#ifdef X86_PATHS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        path[count++] = (Path){"avx512", fill_avx512};
    if (__builtin_cpu_supports("avx2"))
        path[count++] = (Path){"avx2", fill_avx2};
#endif
    path[count++] = (Path){"baseline", fill_baseline};
    return count;
}

/* -------------------------------------------------------------------------------------------- the Python face */

/* A contiguous buffer of items of this size; `optional` lets None through as NULL. */
static int get_buffer(PyObject *object, Py_buffer *view, const char *name, Py_ssize_t itemsize, int flags, int optional)
{
    memset(view, 0, sizeof *view);
    if (optional && object == Py_None)
        return 1;
    if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | flags) < 0)
        return 0;
    if (view->itemsize != itemsize) {
        PyErr_Format(PyExc_ValueError, "%s has items of %zd bytes, not %zd", name, view->itemsize, itemsize);
        return 0;
    }
    return 1;
}

/* Widen [least, most] by the items that `count` lanes of this block of row 0 lie at. In double: no sum overflows. */
static void reach(const Runs *runs, int64_t block, int64_t count, double *least, double *most)
{
    const double start = (double)block * (double)runs->stride;
    for (int64_t k = runs->scatter ? 0 : count - 1; k < count; k++) {
        const double at = start + (double)(runs->scatter ? runs->scatter[k] : k);
        *least = at < *least ? at : *least;
        *most = at > *most ? at : *most;
    }
    *least = !runs->scatter && start < *least ? start : *least;
}

/* Whether every item that the runs write lies inside `items`. */
static int inside(const Runs *runs, int64_t items)
{
    const int64_t full = runs->row / runs->block, rest = runs->row % runs->block;
    double least = (double)INT64_MAX, most = (double)INT64_MIN;
    if (full) {
        reach(runs, 0, runs->block, &least, &most);
        reach(runs, full - 1, runs->block, &least, &most);
    }
    if (rest)
        reach(runs, full, rest, &least, &most);
    for (int64_t row = 0; row < runs->rows; row++)
        if ((double)runs->offsets[row] + least < 0 || (double)runs->offsets[row] + most >= (double)items)
            return 0;
    return 1;
}

static PyObject *py_fill(PyObject *module, PyObject *args)
{
    Law law;
    Runs runs;
    PyObject *out_object, *table_object, *bases_object, *offsets_object, *pattern_object, *scatter_object;
    Py_buffer out, table, bases, offsets, pattern, scatter;
    unsigned long long key, width, step;
    unsigned int lo;
    int path_index;
    long long row, block, stride, first, last;
    (void)module;
    if (!PyArg_ParseTuple(args, "iOiK(iIKiidd)O(OOLLKLOO)LL", &path_index, &out_object, &law.dtype, &key, &law.normal,
                          &lo, &width, &law.low, &law.high, &law.scale, &law.mean, &table_object, &bases_object,
                          &offsets_object, &row, &block, &step, &stride, &pattern_object, &scatter_object, &first,
                          &last))
        return NULL;
    Path path[3];
    const int count = paths(path);
    if (path_index < 0 || path_index >= count)
        return PyErr_Format(PyExc_ValueError, "path %d is not one of %d", path_index, count);
    if (law.dtype < WORDS || law.dtype > BFLOAT16)
        return PyErr_Format(PyExc_ValueError, "dtype code %d is unknown", law.dtype);
    PyObject *result = NULL;
    memset(&out, 0, sizeof out), memset(&table, 0, sizeof table), memset(&bases, 0, sizeof bases);
    memset(&offsets, 0, sizeof offsets), memset(&pattern, 0, sizeof pattern), memset(&scatter, 0, sizeof scatter);
    if (!get_buffer(out_object, &out, "out", (Py_ssize_t)ITEMSIZE[law.dtype], PyBUF_WRITABLE, 0) ||
        !get_buffer(table_object, &table, "table", 4, 0, 0) || !get_buffer(bases_object, &bases, "bases", 8, 0, 0) ||
        !get_buffer(offsets_object, &offsets, "offsets", 8, 0, 0) ||
        !get_buffer(pattern_object, &pattern, "pattern", 4, 0, 1) ||
        !get_buffer(scatter_object, &scatter, "scatter", 8, 0, 1))
        goto done;
    law.key = key, law.window_lo = lo, law.window_width = width, law.table = table.buf;
    runs = (Runs){bases.buf, offsets.buf, bases.len / 8, row, block, stride, step, pattern.buf, scatter.buf};
    if (table.len != 4 * 4 * TABLE_ROWS || width > (1ull << 32) || lo + width > (1ull << 32) || runs.rows < 1 ||
        bases.len != offsets.len || row < 1 || block < 1 || (runs.pattern && pattern.len / 4 < block) ||
        (runs.scatter && scatter.len / 8 < block) || first < 0 || first > last ||
        last > runs.rows * ((row + block - 1) / block) || !inside(&runs, out.len / out.itemsize)) {
        PyErr_SetString(PyExc_ValueError, "the runs do not fit the memory");
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    path[path_index].fill(&law, &runs, out.buf, first, last);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    PyBuffer_Release(&out), PyBuffer_Release(&table), PyBuffer_Release(&bases);
    PyBuffer_Release(&offsets), PyBuffer_Release(&pattern), PyBuffer_Release(&scatter);
    return result;
}

static PyObject *py_block(PyObject *module, PyObject *args)
{
    unsigned long long key, counter;
    (void)module;
    if (!PyArg_ParseTuple(args, "KK", &key, &counter))
        return NULL;
    uint32_t x0 = (uint32_t)(counter >> 32), x1 = (uint32_t)counter;
    threefry(key, &x0, &x1, 1);
    return PyLong_FromUnsignedLongLong((unsigned long long)x0 << 32 | x1);
}

static PyObject *py_paths(PyObject *module, PyObject *args)
{
    Path path[3];
    const int count = paths(path);
    (void)module, (void)args;
    PyObject *names = PyTuple_New(count);
    for (int i = 0; names && i < count; i++)
        PyTuple_SetItem(names, i, PyUnicode_FromString(path[i].name));
    return names;
}

static PyMethodDef methods[] = {
    {"fill", py_fill, METH_VARARGS, "Fill blocks of runs with the weights of a law."},
    {"block", py_block, METH_VARARGS, "Threefry-2x32 of a 64-bit counter under a 64-bit key."},
    {"paths", py_paths, METH_NOARGS, "The instruction sets that this processor can use, best first."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernel", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void)
{
    return PyModule_Create(&module);
}
