/* The stream for CPU memory, with the bits of the specification, initlib/stream/reference.py.
 *
 * out[offset] = weight(key, base + pattern[k]), for the blocks of initlib/stream/runs.py. The loops run over small
 * arrays of lanes, so the compiler makes each step one vector instruction per register. No loop uses Python objects.
 *
 * `draw` checks a list of weights and draws it. Threads share a long list as one large weight: `fill` draws parts of it. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* If this file does not compile, the reference draws, and checks the rounding itself. */
#if FLT_EVAL_METHOD != 0
#error "float arithmetic must round to float, and only once: compile with SSE2 (-msse2 -mfpmath=sse)"
#endif
#ifdef __FAST_MATH__
#error "float arithmetic must be IEEE 754's: compile without -ffast-math"
#endif

#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#if defined(__x86_64__)
#define X86_PATHS
#define AVX2 __attribute__((target("avx2")))
#ifdef __clang__
#define AVX512 __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl"), min_vector_width(512)))
#else
#define AVX512 __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,prefer-vector-width=512")))
#endif
#include <immintrin.h>
#endif
#else
#define INLINE static __inline
#endif

/* Weights that are drawn together: 64 keep enough chains of dependent steps in flight, and fit the registers. */
#define LANES 64
#define TABLE_ROWS 249

static uint32_t iota[LANES]; /* 0, 1, 2 ... */

/* The dtypes of the output; initlib/dtypes.py has the same numbers. */
enum { WORDS, FLOAT32, FLOAT64, FLOAT16, BFLOAT16 };

typedef struct {
    uint64_t key;
    int normal;           /* 0: uniform noise */
    uint32_t window_lo;   /* the window of the CDF, for normal noise */
    uint64_t window_width;
    int32_t low, high;    /* the clamp of the noise */
    double scale, mean;
    int dtype;
    const int32_t *table; /* three columns of TABLE_ROWS: c0, c1, and c2 << 17 | (c3 & 0xFFFF) */
    const struct Near *near; /* the rows of the table that the AVX-512 path holds in registers */
} Law;

typedef struct {
    const uint64_t *bases;
    const int64_t *offsets;
    int64_t rows, row, block, stride;
    uint64_t step;
    const uint32_t *pattern; /* NULL: 0, 1, 2 ... */
    const int64_t *scatter;  /* NULL: 0, 1, 2 ... */
} Runs;

/* Tensors that differ in their memory and their key alone. */
typedef struct {
    Law law; /* without the key */
    Runs runs;
    int64_t start; /* the number of weights in the groups before */
    int64_t size;  /* the number of weights in one tensor */
    int64_t count; /* the number of tensors */
    char **out;
    uint64_t *key;
} Group;

/* ------------------------------------------------------------------------------------------------ the word */

#define SKEIN_KS_PARITY 0x1BD11BDAu

INLINE void inject(uint32_t *x0, uint32_t *x1, int lanes, uint32_t k0, uint32_t k1)
{
    for (int j = 0; j < lanes; j++) {
        x0[j] += k0;
        x1[j] += k1;
    }
}

INLINE void mix(uint32_t *x0, uint32_t *x1, int lanes, int rotation)
{
    for (int j = 0; j < lanes; j++) {
        x0[j] += x1[j];
        x1[j] = ((x1[j] << rotation) | (x1[j] >> (32 - rotation))) ^ x0[j];
    }
}

/* The counter contains the key already. Every rotation is a constant, so that both arrays stay in registers
 * from the first round to the last. */
INLINE void threefry(uint32_t k0, uint32_t k1, uint32_t *x0, uint32_t *x1, int lanes)
{
    const uint32_t k2 = k0 ^ k1 ^ SKEIN_KS_PARITY;
    mix(x0, x1, lanes, 13), mix(x0, x1, lanes, 15), mix(x0, x1, lanes, 26), mix(x0, x1, lanes, 6);
    inject(x0, x1, lanes, k1, k2 + 1);
    mix(x0, x1, lanes, 17), mix(x0, x1, lanes, 29), mix(x0, x1, lanes, 16), mix(x0, x1, lanes, 24);
    inject(x0, x1, lanes, k2, k0 + 2);
    mix(x0, x1, lanes, 13), mix(x0, x1, lanes, 15), mix(x0, x1, lanes, 26), mix(x0, x1, lanes, 6);
    inject(x0, x1, lanes, k0, k1 + 3);
    mix(x0, x1, lanes, 17), mix(x0, x1, lanes, 29), mix(x0, x1, lanes, 16), mix(x0, x1, lanes, 24);
    inject(x0, x1, lanes, k1, k2 + 4);
    mix(x0, x1, lanes, 13), mix(x0, x1, lanes, 15), mix(x0, x1, lanes, 26), mix(x0, x1, lanes, 6);
    inject(x0, x1, lanes, k2, k0 + 5);
}

INLINE void words(const Law *law, uint64_t base, const uint32_t *pattern, uint32_t *word)
{
    uint32_t x0[LANES];
    const uint32_t k0 = (uint32_t)(law->key >> 32), k1 = (uint32_t)law->key;
    const uint32_t high = (uint32_t)(base >> 32), low = (uint32_t)base;
    if (pattern == iota && low <= UINT32_MAX - LANES) /* no position carries: one high word for all */
        for (int j = 0; j < LANES; j++) {
            word[j] = (low + k1) + iota[j];
            x0[j] = high + k0;
        }
    else
        for (int j = 0; j < LANES; j++) {
            word[j] = low + pattern[j];
            x0[j] = high + k0 + (word[j] < low);
            word[j] += k1;
        }
    threefry(k0, k1, x0, word, LANES);
    for (int j = 0; j < LANES; j++)
        word[j] ^= x0[j];
}

/* ----------------------------------------------------------------------------------------------- the noise */

INLINE int32_t clamp(int32_t n, int32_t low, int32_t high)
{
    n = n < low ? low : n;
    return n > high ? high : n;
}

INLINE void uniform(const Law *law, const uint32_t *word, float *noise)
{
    for (int j = 0; j < LANES; j++)
        noise[j] = (float)clamp(((int32_t)word[j] >> 7) | 1, law->low, law->high);
}

/* The noise of words, and the rows of the table: one function of each for every instruction set below. */
typedef void Normal(const Law *law, const uint32_t *word, float *noise);
typedef void Lookup(const int32_t *column, const int32_t *row, int32_t *out);

INLINE void normal(const Law *law, const uint32_t *word, float *noise, Lookup *lookup)
{
    const uint32_t width = (uint32_t)law->window_width;
    int32_t p[LANES], bits[LANES], row[LANES], c0[LANES], c1[LANES], c23[LANES];
    if (law->window_width >> 32) /* the whole line */
        memcpy(p, word, sizeof p);
    else
        for (int j = 0; j < LANES; j++)
            p[j] = (int32_t)(law->window_lo + (uint32_t)(((uint64_t)word[j] * width) >> 32));
    for (int j = 0; j < LANES; j++) {
        const float tail = (float)((p[j] ^ (p[j] >> 31)) | 1);
        memcpy(&bits[j], &tail, sizeof tail);
        row[j] = (bits[j] >> 20) - (127 << 3);
    }
    lookup(law->table, row, c0);
    lookup(law->table + TABLE_ROWS, row, c1);
    lookup(law->table + 2 * TABLE_ROWS, row, c23);
    for (int j = 0; j < LANES; j++) {
        const int32_t u = bits[j] & 0xFFFFF, v = u >> 5, lower = ~(p[j] >> 31);
        int32_t q = (c23[j] >> 17) + (((int16_t)c23[j] * v) >> 15);
        q = c1[j] + ((q * v) >> 15);
        const int32_t n = c0[j] + ((q * (u >> 8) + ((q * (u & 255)) >> 8)) >> 12);
        noise[j] = (float)clamp((n ^ lower) - lower, law->low, law->high);
    }
}

INLINE void lookup_baseline(const int32_t *column, const int32_t *row, int32_t *out)
{
    for (int j = 0; j < LANES; j++)
        out[j] = column[row[j]];
}

INLINE void normal_baseline(const Law *law, const uint32_t *word, float *noise)
{
    normal(law, word, noise, lookup_baseline);
}

#ifdef X86_PATHS
AVX2 INLINE void lookup_avx2(const int32_t *column, const int32_t *row, int32_t *out)
{
    for (int j = 0; j < LANES; j += 8) {
        const __m256i at = _mm256_loadu_si256((const __m256i *)(row + j));
        _mm256_storeu_si256((__m256i *)(out + j), _mm256_i32gather_epi32(column, at, 4));
    }
}

AVX2 INLINE void normal_avx2(const Law *law, const uint32_t *word, float *noise)
{
    normal(law, word, noise, lookup_avx2);
}

/* The high halves of the unsigned products. */
AVX512 INLINE __m512i multiply_high(__m512i x, __m512i y)
{
    const __m512i even = _mm512_mul_epu32(x, y);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(y, 32));
    return _mm512_mask_shuffle_epi32(odd, 0x5555, even, 0xF5);
}

/* The last 64 rows of the table, 185 to 248, fit in registers: row r is at (r + 127 * 8) % 64, which the exponent and
 * the top of the fraction of a float32 spell. All tails but one in 256 have those rows. */
#define NEAR_ROWS 64
#define NEAR_TAIL 9437184 /* the least tail of row 185: 2**23 * 9 / 8 */
#define BIAS 0x1p23f      /* from here to 2**24 a float32 has no fraction: a sum rounded down is its floor */

typedef struct Near {
    float c0[NEAR_ROWS]; /* + BIAS */
    int32_t c1[NEAR_ROWS], c23[NEAR_ROWS];
} Near;

AVX512 INLINE void near_rows(const int32_t *table, Near *near)
{
    for (int row = TABLE_ROWS - NEAR_ROWS; row < TABLE_ROWS; row++) {
        const int at = (row + (127 << 3)) % NEAR_ROWS;
        near->c0[at] = (float)table[row] + BIAS;
        near->c1[at] = table[TABLE_ROWS + row];
        near->c23[at] = table[2 * TABLE_ROWS + row];
    }
}

/* Each step writes the lanes of its mask; the other lanes hold the row number still, or the value already. */
AVX512 INLINE __m512i look_up(const void *column, __m512i at, __mmask16 last_half)
{
    const __m512i *c = column;
    at = _mm512_mask2_permutex2var_epi32(_mm512_loadu_si512(c), at, _knot_mask16(last_half), _mm512_loadu_si512(c + 1));
    return _mm512_mask2_permutex2var_epi32(_mm512_loadu_si512(c + 2), at, last_half, _mm512_loadu_si512(c + 3));
}

/* The rows of the other tails. Where c0 is past BIAS, a quarter of it keeps the sum below 2**24. */
AVX512 INLINE void far_rows(const int32_t *table, __mmask16 far, __m512i at, __m512 *c0, __m512i *c1, __m512i *c23,
                            __m512 *bias)
{
    const __m512i exponent = _mm512_and_si512(at, _mm512_set1_epi32(0x7FF));
    const __m512i row = _mm512_sub_epi32(exponent, _mm512_set1_epi32(127 << 3));
    const __m512 start = _mm512_cvtepi32_ps(_mm512_mask_i32gather_epi32(row, far, row, table, 4));
    const __mmask16 past = _mm512_mask_cmp_ps_mask(far, start, *bias, _CMP_GE_OQ);
    *bias = _mm512_mask_mov_ps(*bias, past, _mm512_set1_ps(BIAS / 4));
    *c0 = _mm512_mask_add_ps(*c0, far, start, *bias);
    *c1 = _mm512_mask_i32gather_epi32(*c1, far, row, table + TABLE_ROWS, 4);
    *c23 = _mm512_mask_i32gather_epi32(*c23, far, row, table + 2 * TABLE_ROWS, 4);
}

#define VECTORS (LANES / 16)
#define EACH for (int i = 0; i < VECTORS; i++)
#define INT(n) _mm512_set1_epi32(n)
#define FLOAT(x) _mm512_set1_ps(x)
#define AND_OR 0xEA /* (x & y) | z */
#define DOWN (_MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)

/* The bits of `normal`, with fewer steps: float32 keeps the sign apart, so p | 1 need not be made positive
 * first; c2 and c3 take one multiply-add of 16-bit pairs; and the last product and sum are one of float32. Every step
 * is taken for all vectors before the next: the processor looks only so far ahead for what does not wait. */
AVX512 INLINE void normal_512(const Law *law, const uint32_t *word, float *noise, int whole_line, int all_near)
{
    __m512i p[VECTORS], bits[VECTORS], at[VECTORS], v[VECTORS], q[VECTORS], c1[VECTORS], c23[VECTORS];
    __m512 u[VECTORS], n[VECTORS], c0[VECTORS], bias[VECTORS];
    __mmask16 last_half[VECTORS];
    const __m512i lo = INT((int32_t)law->window_lo), width = INT((int32_t)law->window_width);
    EACH p[i] = _mm512_loadu_si512(word + 16 * i);
    if (!whole_line)
        EACH p[i] = _mm512_add_epi32(lo, multiply_high(p[i], width));
    EACH bits[i] = _mm512_castps_si512(_mm512_cvtepi32_ps(_mm512_or_si512(p[i], INT(1))));
    EACH at[i] = _mm512_srli_epi32(bits[i], 20);
    EACH last_half[i] = _mm512_test_epi32_mask(bits[i], INT(32 << 20));
    EACH c23[i] = look_up(law->near->c23, at[i], last_half[i]);
    EACH c1[i] = look_up(law->near->c1, at[i], last_half[i]);
    EACH c0[i] = _mm512_castsi512_ps(look_up(law->near->c0, at[i], last_half[i]));
    EACH bias[i] = FLOAT(BIAS);
    if (!all_near)
        EACH {
            const __m512i above = _mm512_add_epi32(p[i], INT(NEAR_TAIL)); /* below 2 * NEAR_TAIL if |p| is far */
            const __mmask16 far = _mm512_cmplt_epu32_mask(above, INT(2 * NEAR_TAIL));
            if (far)
                far_rows(law->table, far, at[i], &c0[i], &c1[i], &c23[i], &bias[i]);
        }
    /* v, and in the upper half the 2**14 that meets c2; u / 2**20, from 8 + u / 2**20 */
    EACH v[i] = _mm512_ternarylogic_epi32(_mm512_srli_epi32(bits[i], 5), INT(0x7FFF), INT(1 << 30), AND_OR);
    EACH bits[i] = _mm512_ternarylogic_epi32(bits[i], INT(0xFFFFF), _mm512_castps_si512(FLOAT(8)), AND_OR);
    EACH u[i] = _mm512_sub_ps(_mm512_castsi512_ps(bits[i]), FLOAT(8));
    EACH q[i] = _mm512_srai_epi32(_mm512_madd_epi16(c23[i], v[i]), 15); /* 0 <= q < 2**15: no upper half */
    EACH q[i] = _mm512_add_epi32(c1[i], _mm512_srai_epi32(_mm512_madd_epi16(q[i], v[i]), 15));
    EACH n[i] = _mm512_fmadd_round_ps(_mm512_cvtepi32_ps(q[i]), u[i], c0[i], DOWN);
    EACH {
        const __mmask16 lower = _mm512_cmpge_epi32_mask(p[i], INT(0));
        n[i] = _mm512_mask_sub_ps(_mm512_sub_ps(n[i], bias[i]), lower, bias[i], n[i]);
    }
    EACH n[i] = _mm512_max_ps(n[i], FLOAT((float)law->low));
    EACH _mm512_storeu_ps(noise + 16 * i, _mm512_min_ps(n[i], FLOAT((float)law->high)));
}

/* The conditions are constants in each call, so the loop has no branches. */
AVX512 INLINE void normal_avx512(const Law *law, const uint32_t *word, float *noise)
{
    if (law->window_width >> 32)
        normal_512(law, word, noise, 1, 0);
    else if (law->window_lo >= NEAR_TAIL && law->window_lo + law->window_width <= (1ull << 32) - NEAR_TAIL)
        normal_512(law, word, noise, 0, 1);
    else
        normal_512(law, word, noise, 0, 0);
}
#endif

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

INLINE float weight(const Law *law, float noise)
{
    const float product = noise * (float)law->scale;
    return law->mean != 0 ? product + (float)law->mean : product;
}

INLINE void store(const Law *law, const float *noise, void *out)
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
INLINE void draw(const Law *law, uint64_t base, const uint32_t *pattern, void *out, Normal *normal)
{
    uint32_t word[LANES];
    float noise[LANES];
    if (law->dtype != WORDS && law->low == law->high) { /* a constant: no word changes the noise */
        for (int j = 0; j < LANES; j++)
            noise[j] = (float)law->low;
        store(law, noise, out);
        return;
    }
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

static int64_t blocks_of_row(const Runs *runs)
{
    return runs->row / runs->block + (runs->row % runs->block != 0);
}

static const size_t ITEMSIZE[] = {4, 4, 8, 2, 2};
INLINE void spread(const char *items, size_t itemsize, int64_t count, const int64_t *scatter, char *out)
{
    for (int64_t j = 0; j < count; j++) /* constant sizes: each copy is one move */
        if (itemsize == 2)
            memcpy(out + 2 * scatter[j], items + 2 * j, 2);
        else if (itemsize == 4)
            memcpy(out + 4 * scatter[j], items + 4 * j, 4);
        else
            memcpy(out + 8 * scatter[j], items + 8 * j, 8);
}

INLINE void fill(const Law *given, const Runs *runs, char *out, int64_t first, int64_t last, Normal *normal)
{
    const Law copy = *given, *law = &copy; /* a copy that no store to out can change: it stays in registers */
    const int64_t per_row = blocks_of_row(runs);
    const size_t item = ITEMSIZE[law->dtype];
    uint64_t buffer[LANES]; /* room for LANES items of any dtype */
    uint32_t part[LANES] = {0};
    for (int64_t at = first; at < last; at++) {
        const int64_t row = at / per_row, block = at % per_row;
        const int64_t left = runs->row - block * runs->block;
        const int64_t count = left < runs->block ? left : runs->block;
        const uint64_t base = runs->bases[row] + (uint64_t)block * runs->step;
        char *target = out + (runs->offsets[row] + block * runs->stride) * (int64_t)item;
        for (int64_t k = 0; k < count; k += LANES) {
            const int64_t lanes = count - k < LANES ? count - k : LANES;
            const uint32_t *pattern = runs->pattern ? runs->pattern + k : iota;
            const uint64_t start = runs->pattern ? base : base + (uint64_t)k;
            char *to = target + k * (int64_t)item;
            if (lanes < LANES) /* no lane reads past the pattern */
                pattern = memcpy(part, pattern, (size_t)lanes * sizeof *part);
            const int direct = lanes == LANES && !runs->scatter;
            draw(law, start, pattern, direct ? (void *)to : buffer, normal);
            if (runs->scatter)
                spread((const char *)buffer, item, lanes, runs->scatter + k, target);
            else if (!direct)
                memcpy(to, buffer, (size_t)lanes * item);
        }
    }
}

/* Return the number of blocks whose first weight is before weight `number` of a tensor. */
static int64_t blocks_before(const Runs *runs, int64_t number)
{
    const int64_t in_row = number % runs->row;
    return number / runs->row * blocks_of_row(runs) + in_row / runs->block + (in_row % runs->block != 0);
}

/* Draw the blocks whose first weight has a number from `first` to before `last`, counted through all groups. */
INLINE void fill_groups(const Group *group, int64_t groups, const Near *near, int64_t first, int64_t last, Normal *normal)
{
    for (const Group *end = group + groups; group < end && group->start < last; group++) {
        const int64_t size = group->size, start = first > group->start ? first - group->start : 0;
        const int64_t stop = last - group->start < size * group->count ? last - group->start : size * group->count;
        Law law = group->law;
        law.near = near;
        for (int64_t number = start / size; number * size < stop; number++) {
            const int64_t from = start - number * size, to = stop - number * size;
            law.key = group->key[number];
            fill(&law, &group->runs, group->out[number], blocks_before(&group->runs, from > 0 ? from : 0),
                 blocks_before(&group->runs, to < size ? to : size), normal);
        }
    }
}

/* The same code once for each instruction set. */
typedef void Fill(const Group *, int64_t, int64_t, int64_t);

static void fill_baseline(const Group *group, int64_t groups, int64_t first, int64_t last)
{
    fill_groups(group, groups, NULL, first, last, normal_baseline);
}

#ifdef X86_PATHS
AVX2 static void fill_avx2(const Group *group, int64_t groups, int64_t first, int64_t last)
{
    fill_groups(group, groups, NULL, first, last, normal_avx2);
}

AVX512 static void fill_avx512(const Group *group, int64_t groups, int64_t first, int64_t last)
{
    Near near __attribute__((aligned(64)));
    if (groups)
        near_rows(group->law.table, &near);
    fill_groups(group, groups, &near, first, last, normal_avx512);
}
#endif

typedef struct {
    const char *name;
    Fill *fill;
} Path;

static Path path[3]; /* of this processor, best first */
static int path_count;

static void find_paths(void)
{
#ifdef X86_PATHS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        path[path_count++] = (Path){"avx512", fill_avx512};
    if (__builtin_cpu_supports("avx2"))
        path[path_count++] = (Path){"avx2", fill_avx2};
#endif
    path[path_count++] = (Path){"baseline", fill_baseline};
}

/* --------------------------------------------------------------------------------------- the Python interface */

/* A list of weights to draw: groups, and the buffers that hold their memory. */
typedef struct {
    int path;
    int64_t groups, buffers;
    Group *group;
    char **out;    /* of the tensors of all groups */
    uint64_t *key; /* likewise */
    Py_buffer *view;
} Job;

#define JOB "initlib.stream._kernel.Job"

static void free_job(Job *job)
{
    if (!job)
        return;
    for (int64_t i = 0; i < job->buffers; i++)
        PyBuffer_Release(&job->view[i]);
    PyMem_Free(job->group);
    PyMem_Free(job->out);
    PyMem_Free(job->key);
    PyMem_Free(job->view);
    PyMem_Free(job);
}

static void fill_job(const Job *job, int64_t first, int64_t last)
{
    Py_BEGIN_ALLOW_THREADS
    path[job->path].fill(job->group, job->groups, first, last);
    Py_END_ALLOW_THREADS
}

static void free_capsule(PyObject *capsule)
{
    free_job(PyCapsule_GetPointer(capsule, JOB));
}

/* Get a contiguous buffer of items of that size, which the job releases; NULL with an error set. */
static Py_buffer *get_buffer(Job *job, PyObject *object, const char *name, Py_ssize_t itemsize, int flags)
{
    Py_buffer *view = &job->view[job->buffers];
    if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS | flags) < 0)
        return NULL;
    job->buffers++;
    if (view->itemsize != itemsize)
        return PyErr_Format(PyExc_ValueError, "%s has items of %zd bytes, not %zd", name, view->itemsize, itemsize), NULL;
    return view;
}

/* Widen [least, most] by the items of `count` lanes of this block of row 0. Return 0 if an item is so far away that a
 * sum could overflow. Computed in double, which does not overflow. */
static int reach(const Runs *runs, int64_t block, int64_t count, double items, double *least, double *most)
{
    const double start = (double)block * (double)runs->stride;
    if (start < -items || start > items)
        return 0;
    for (int64_t k = runs->scatter ? 0 : count - 1; k < count; k++) {
        const double step = (double)(runs->scatter ? runs->scatter[k] : k);
        const double at = start + step;
        if (step < -items || step > items)
            return 0;
        *least = at < *least ? at : *least;
        *most = at > *most ? at : *most;
    }
    *least = !runs->scatter && start < *least ? start : *least;
    return 1;
}

/* Return whether all items that the blocks write are inside `items`. */
static int inside(const Runs *runs, int64_t items)
{
    const int64_t full = runs->row / runs->block, rest = runs->row % runs->block;
    const double all = (double)items;
    double least = (double)INT64_MAX, most = (double)INT64_MIN;
    if (full && !(reach(runs, 0, runs->block, all, &least, &most) &&
                  reach(runs, full - 1, runs->block, all, &least, &most)))
        return 0;
    if (rest && !reach(runs, full, rest, all, &least, &most))
        return 0;
    for (int64_t row = 0; row < runs->rows; row++) {
        const double offset = (double)runs->offsets[row];
        if (offset < -all || offset > all || offset + least < 0 || offset + most >= all)
            return 0;
    }
    return 1;
}

/* The check of initlib/_rounding.py. The numbers are volatile, so that the sums are not computed by the compiler. */
static int check_rounding(void)
{
    volatile double one = 1, under = 0x1.fffffffffffffp-54, over = 0x1.0000000000001p-53;
    if (one + under < one + over)
        return 1;
    PyErr_SetString(PyExc_FloatingPointError,
                    "This thread must round each result once, to the nearest number, got another rounding mode. "
                    "Restore the mode that a library has changed, and draw again.");
    return 0;
}

/* Add the memory and the key of tensors to a group: buffers, or the addresses of memory that the caller has checked. */
static int add_tensors(Job *job, Group *group, PyObject *memories, PyObject *keys, int64_t items)
{
    for (Py_ssize_t i = 0; i < group->count; i++) {
        PyObject *memory = PyTuple_GetItem(memories, i);
        group->key[i] = PyLong_AsUnsignedLongLong(PyTuple_GetItem(keys, i));
        if (PyErr_Occurred())
            return 0;
        if (PyLong_Check(memory)) {
            group->out[i] = PyLong_AsVoidPtr(memory);
            if (!group->out[i]) {
                if (!PyErr_Occurred())
                    PyErr_SetString(PyExc_ValueError, "the address is NULL");
                return 0;
            }
            continue;
        }
        const Py_buffer *view = get_buffer(job, memory, "out", (Py_ssize_t)ITEMSIZE[group->law.dtype], PyBUF_WRITABLE);
        if (!view)
            return 0;
        if (view->len / view->itemsize < items)
            return PyErr_SetString(PyExc_ValueError, "the runs do not fit the memory"), 0;
        group->out[i] = view->buf;
    }
    return 1;
}

/* Read a group, whose start and count are set, from its tuple. */
static int read_group(Job *job, Group *group, PyObject *tuple)
{
    Law *law = &group->law;
    Runs *runs = &group->runs;
    PyObject *bases, *offsets, *pattern, *scatter, *memories, *keys;
    unsigned long long width, step;
    unsigned int lo;
    long long row, block, stride, items;
    /* One flat tuple: to parse nested tuples takes longer than to draw 64 weights. */
    if (!PyArg_ParseTuple(tuple, "iiIKiiddOOLLKLOOLO!O!", &law->dtype, &law->normal, &lo, &width, &law->low, &law->high,
                          &law->scale, &law->mean, &bases, &offsets, &row, &block, &step, &stride, &pattern, &scatter,
                          &items, &PyTuple_Type, &memories, &PyTuple_Type, &keys))
        return 0;
    if (law->dtype < WORDS || law->dtype > BFLOAT16)
        return PyErr_Format(PyExc_ValueError, "dtype code %d is unknown", law->dtype), 0;
    law->window_lo = lo, law->window_width = width;
    const Py_buffer *base = get_buffer(job, bases, "bases", 8, 0);
    const Py_buffer *offset = base ? get_buffer(job, offsets, "offsets", 8, 0) : NULL;
    const Py_buffer *patterns = NULL, *scatters = NULL;
    if (!offset || (pattern != Py_None && !(patterns = get_buffer(job, pattern, "pattern", 4, 0))) ||
        (scatter != Py_None && !(scatters = get_buffer(job, scatter, "scatter", 8, 0))))
        return 0;
    *runs = (Runs){base->buf, offset->buf, base->len / 8, row, block, stride, step,
                   patterns ? patterns->buf : NULL, scatters ? scatters->buf : NULL};
    if (width > (1ull << 32) || lo + width > (1ull << 32) || runs->rows < 1 || base->len != offset->len || row < 1 ||
        block < 1 || (patterns && patterns->len / 4 < block) || (scatters && scatters->len / 8 < block) ||
        runs->rows > INT64_MAX / row || runs->rows * row > (INT64_MAX - group->start) / (group->count + 1) ||
        items < 0 || !inside(runs, items))
        return PyErr_SetString(PyExc_ValueError, "the runs do not fit the memory"), 0;
    group->size = runs->rows * row;
    return add_tensors(job, group, memories, keys, items);
}

/* Return the number of tensors of a group's tuple; -1 with an error set. */
static Py_ssize_t count_tensors(PyObject *tuple)
{
    PyObject *memories = PyTuple_Check(tuple) && PyTuple_Size(tuple) > 1
                             ? PyTuple_GetItem(tuple, PyTuple_Size(tuple) - 2) : NULL;
    PyObject *keys = memories ? PyTuple_GetItem(tuple, PyTuple_Size(tuple) - 1) : NULL;
    if (!keys || !PyTuple_Check(memories) || !PyTuple_Check(keys) || PyTuple_Size(memories) != PyTuple_Size(keys))
        return PyErr_SetString(PyExc_TypeError, "a group must end with a tuple of memories and one of as many keys"), -1;
    return PyTuple_Size(keys);
}

/* Check all groups. Then draw them, if they have fewer weights than `many`. Return the job that remains, or None, and
 * the number of weights. */
static PyObject *py_draw(PyObject *module, PyObject *args)
{
    int path_index;
    long long many;
    PyObject *table, *groups;
    (void)module;
    if (!PyArg_ParseTuple(args, "iOO!L", &path_index, &table, &PyTuple_Type, &groups, &many))
        return NULL;
    if (!check_rounding())
        return NULL;
    if (path_index < 0 || path_index >= path_count)
        return PyErr_Format(PyExc_ValueError, "path %d is not one of %d", path_index, path_count);
    const Py_ssize_t count = PyTuple_Size(groups);
    Py_ssize_t tensors = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        const Py_ssize_t more = count_tensors(PyTuple_GetItem(groups, i));
        if (more < 0)
            return NULL;
        tensors += more;
    }
    Job *job = PyMem_Calloc(1, sizeof *job);
    if (!job)
        return PyErr_NoMemory();
    job->path = path_index, job->groups = count;
    job->group = PyMem_Calloc((size_t)count, sizeof *job->group);
    job->out = PyMem_Calloc((size_t)tensors, sizeof *job->out);
    job->key = PyMem_Calloc((size_t)tensors, sizeof *job->key);
    job->view = PyMem_Calloc((size_t)(tensors + 4 * count + 1), sizeof *job->view);
    PyObject *result = NULL;
    if (!job->group || !job->out || !job->key || !job->view) {
        PyErr_NoMemory();
        goto end;
    }
    const Py_buffer *columns = get_buffer(job, table, "table", 4, 0);
    if (!columns)
        goto end;
    if (columns->len != 3 * 4 * TABLE_ROWS) {
        PyErr_SetString(PyExc_ValueError, "the table has another size");
        goto end;
    }
    int64_t start = 0, done = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *tuple = PyTuple_GetItem(groups, i);
        Group *group = &job->group[i];
        group->law.table = columns->buf;
        group->start = start, group->count = count_tensors(tuple);
        group->out = job->out + done, group->key = job->key + done;
        if (!read_group(job, group, tuple))
            goto end;
        start += group->size * group->count, done += group->count;
    }
    if (start >= many) {
        PyObject *capsule = PyCapsule_New(job, JOB, free_capsule);
        if (!capsule)
            goto end;
        return Py_BuildValue("NL", capsule, (long long)start);
    }
    fill_job(job, 0, start);
    result = Py_BuildValue("OL", Py_None, (long long)start);
end:
    free_job(job);
    return result;
}

static PyObject *py_fill(PyObject *module, PyObject *args)
{
    PyObject *capsule;
    long long first, last;
    (void)module;
    if (!PyArg_ParseTuple(args, "OLL", &capsule, &first, &last))
        return NULL;
    const Job *job = PyCapsule_GetPointer(capsule, JOB);
    if (!job || !check_rounding())
        return NULL;
    if (first < 0 || first > last)
        return PyErr_Format(PyExc_ValueError, "the weights from %lld to %lld are no part of the job", first, last);
    fill_job(job, first, last);
    return Py_NewRef(Py_None);
}

static PyObject *py_block(PyObject *module, PyObject *args)
{
    unsigned long long key, counter;
    (void)module;
    if (!PyArg_ParseTuple(args, "KK", &key, &counter))
        return NULL;
    const uint32_t k0 = (uint32_t)(key >> 32), k1 = (uint32_t)key;
    uint32_t x0 = (uint32_t)(counter >> 32) + k0, x1 = (uint32_t)counter + k1;
    threefry(k0, k1, &x0, &x1, 1);
    return PyLong_FromUnsignedLongLong((unsigned long long)x0 << 32 | x1);
}

static PyObject *py_paths(PyObject *module, PyObject *args)
{
    (void)module, (void)args;
    PyObject *names = PyTuple_New(path_count);
    for (int i = 0; names && i < path_count; i++)
        PyTuple_SetItem(names, i, PyUnicode_FromString(path[i].name));
    return names;
}

/* The number of the interface below. A change to the arguments or results of a function must change this number, and
   the number in config.py, so that Python does not call a kernel of another version. */
enum { INTERFACE = 1 };

static PyMethodDef methods[] = {
    {"draw", py_draw, METH_VARARGS, "Check a list of weights, and draw it; return a job that draws a long list."},
    {"fill", py_fill, METH_VARARGS, "Draw the blocks of a job that begin in a range of its weights."},
    {"block", py_block, METH_VARARGS, "Threefry-2x32 of a 64-bit counter under a 64-bit key."},
    {"paths", py_paths, METH_NOARGS, "The instruction sets that this processor can use, best first."},
    {NULL, NULL, 0, NULL},
};

/* These values are the same for every interpreter, and do not change later. */
static int py_exec(PyObject *module)
{
    if (!path_count)
        find_paths();
    for (uint32_t j = 0; j < LANES; j++)
        iota[j] = j;
    return PyModule_AddIntConstant(module, "INTERFACE", INTERFACE);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)py_exec},
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED}, /* a draw reads constants, and writes memory of its caller */
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernel", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void)
{
    return PyModuleDef_Init(&definition);
}
