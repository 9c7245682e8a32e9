"""Stream as one Triton kernel, with the bits of `initlib/stream/reference.py`.

A launch fills a nest of at most four loops. Each loop moves the position and the place in memory by a constant.
Only the dtype of a weight, the kind of its law and the number of its loops are compiled in.
"""

# mypy: ignore-errors
# Triton's language has no types.

import triton
import triton.language as tl

from initlib.stream import reference as stream

BLOCK = 1024  # weights that a program draws
DEPTH = 4  # loops of a nest
DTYPES = ("float16", "bfloat16", "float32", "float64")
OPTIONS = {"num_warps": 4, "enable_fp_fusion": False}  # a weight is one product and one sum, each rounded

SKEIN_KS_PARITY = tl.constexpr(0x1BD11BDA)
ROWS = tl.constexpr(stream.COLUMNS.shape[1])
BIAS = tl.constexpr(127 << 3)  # float32's exponent bias, at eight rows an octave


@triton.jit
def mix(x0, x1, a: tl.constexpr, b: tl.constexpr, c: tl.constexpr, d: tl.constexpr):
    """Compute four rounds of the cipher, with their rotations."""
    x0 += x1
    x1 = ((x1 << a) | (x1 >> (32 - a))) ^ x0
    x0 += x1
    x1 = ((x1 << b) | (x1 >> (32 - b))) ^ x0
    x0 += x1
    x1 = ((x1 << c) | (x1 >> (32 - c))) ^ x0
    x0 += x1
    x1 = ((x1 << d) | (x1 >> (32 - d))) ^ x0
    return x0, x1


@triton.jit
def word(key0, key1, x0, x1):
    """Threefry-2x32-20 of the counter (x0, x1), its outputs xored; all of it unsigned."""
    key2 = key0 ^ key1 ^ SKEIN_KS_PARITY
    x0, x1 = mix(x0 + key0, x1 + key1, 13, 15, 26, 6)
    x0, x1 = mix(x0 + key1, x1 + (key2 + 1), 17, 29, 16, 24)
    x0, x1 = mix(x0 + key2, x1 + (key0 + 2), 13, 15, 26, 6)
    x0, x1 = mix(x0 + key0, x1 + (key1 + 3), 17, 29, 16, 24)
    x0, x1 = mix(x0 + key1, x1 + (key2 + 4), 13, 15, 26, 6)
    return (x0 + key2) ^ (x1 + (key0 + 5))


@triton.jit
def quantile(p, columns):
    """Return the normal quantile of a 32-bit point of the CDF, in units of 2**-21 sigma."""
    upper = p >> 31  # -1 in the upper half of the CDF, else 0
    tail = (p ^ upper) | 1  # 31 bits, odd: the midpoint of its pair
    bits = tail.to(tl.float32).to(tl.int32, bitcast=True)
    row = bits >> 20  # from BIAS on
    u = bits & 0xFFFFF  # the position in the row, 20 bits
    v = u >> 5
    q = tl.load(columns + (2 * ROWS - BIAS) + row) + ((tl.load(columns + (3 * ROWS - BIAS) + row) * v) >> 15)
    q = tl.load(columns + (ROWS - BIAS) + row) + ((q * v) >> 15)
    n = tl.load(columns - BIAS + row) + ((q.to(tl.int64) * u) >> 20).to(tl.int32)
    return (n ^ ~upper) - ~upper  # negated in the lower half


@triton.jit
def divide(k, size, multiplier, shift):
    """Return the quotient and the remainder of 0 <= k < 2**31; `launches.reciprocal` makes the other arguments."""
    quotient = (tl.umulhi(k.to(tl.uint32), multiplier.to(tl.uint32)) >> shift.to(tl.uint32)).to(tl.int32)
    return quotient, k - quotient * size


@triton.jit
def number(bits, dtype: tl.constexpr):
    """Return the float of these bits, because Triton would round a float argument to float32."""
    return (
        bits.to(tl.int64).to(tl.float64, bitcast=True)
        if dtype == tl.float64
        else bits.to(tl.int32).to(tl.float32, bitcast=True)
    )


# Both are rounded to nearest even by integers: casts of Triton's are not, in its interpreter, or become one operation
# with the product, on AMD's cards. x is not NaN.


@triton.jit
def bfloat16(x):
    """Round a float32 to bfloat16, to nearest even."""
    bits = x.to(tl.uint32, bitcast=True)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).to(tl.uint16).to(tl.bfloat16, bitcast=True)


@triton.jit
def float16(x):
    """Round a float32 to float16, to nearest even."""
    bits = x.to(tl.uint32, bitcast=True)
    size = bits & 0x7FFFFFFF
    rounded = tl.minimum(((size + 0xFFF + ((size >> 13) & 1)) >> 13) - (112 << 10), 0x7C00)
    # Below 2**-14 the steps are 2**-24 wide, as float32's are between 1/2 and 1: adding 1/2 rounds to them.
    subnormal = (size.to(tl.float32, bitcast=True) + 0.5).to(tl.uint32, bitcast=True) - 0x3F000000
    half = tl.where(size < 0x38800000, subnormal, rounded) | ((bits >> 16) & 0x8000)
    return half.to(tl.uint16).to(tl.float16, bitcast=True)


# fmt: off
@triton.jit(do_not_specialize=range(30))  # all but the constants
def draw(
    out, columns,
    # Every number is 32 bits wide and comes as an int32, but for the bits of the scale and the mean.
    key0, key1, high, low, weights,
    position0, position1, position2, position3,
    memory0, memory1, memory2, memory3,
    size0, multiplier0, shift0, size1, multiplier1, shift1, size2, multiplier2, shift2,
    window_lo, window_width, least, most, scale: tl.int64, mean: tl.int64,
    loops: tl.constexpr, dense: tl.constexpr, law: tl.constexpr, with_mean: tl.constexpr, block: tl.constexpr,
):
    """Fill a nest, its innermost loop number 0, whose first weight lies at `out` and has the position (high, low).

    `dense` is True if its memory is one run; the law is "uniform", "normal" or "truncated".
    """
    # fmt: on
    k = tl.program_id(0) * block + tl.arange(0, block)
    if loops == 1:
        position = k * position0
        memory = k * memory0
    else:
        left, digit = divide(k, size0, multiplier0, shift0)
        position = digit * position0
        memory = digit * memory0
        if loops == 2:
            position += left * position1
            memory += left * memory1
        else:
            left, digit = divide(left, size1, multiplier1, shift1)
            position += digit * position1
            memory += digit * memory1
            if loops == 3:
                position += left * position2
                memory += left * memory2
            else:
                left, digit = divide(left, size2, multiplier2, shift2)
                position += digit * position2 + left * position3
                memory += digit * memory2 + left * memory3
    if dense:
        memory = k

    x1 = position.to(tl.uint32) + low.to(tl.uint32)
    x0 = high.to(tl.uint32) + (x1 < low.to(tl.uint32)).to(tl.uint32)
    bits = word(key0.to(tl.uint32), key1.to(tl.uint32), x0, x1)
    if law == "uniform":
        noise = (bits.to(tl.int32) >> 7) | 1
    else:
        if law == "truncated":
            bits = tl.umulhi(bits, window_width.to(tl.uint32)) + window_lo.to(tl.uint32)
        noise = quantile(bits.to(tl.int32), columns)
    noise = tl.minimum(tl.maximum(noise, least), most)

    dtype: tl.constexpr = out.dtype.element_ty
    weight = noise.to(tl.float64 if dtype == tl.float64 else tl.float32) * number(scale, dtype)
    if with_mean:
        weight += number(mean, dtype)
    if dtype == tl.bfloat16:
        weight = bfloat16(weight)
    elif dtype == tl.float16:
        weight = float16(weight)
    # The alignment of `out` is not declared. Otherwise Triton would give each thread neighbouring weights, and move the
    # rows of the table to these threads through shared memory.
    tl.store(out + memory, weight, mask=k < weights)
