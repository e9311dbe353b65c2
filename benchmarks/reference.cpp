// A bit-sliced AP in C++, of the same semantics as apsim's packed array: the bar to reach.
//
// Rows are lanes: bit r % 64 of word r / 64 of a plane is row r.  Every pass tags, counts
// the tagged rows exactly, and writes; tiles of rows outside, passes inside.  `generic`
// takes any pass, one at a time; `fused_*` are a LUT step written out by hand.
//
// g++ -O3 -march=native -mprefer-vector-width=512 -shared -fPIC reference.cpp -o reference.so

#include <cstdint>

using word = uint64_t;
using number = int64_t;

struct Pass {  // as benchmarks.baselines encodes it: 16 numbers
    number keys, key[4], mask[4], writes, write[2], value[2], spare[2];
};

template <int K, int W>
static number run_pass(word* planes, number stride, const Pass& pass, number from, number to) {
    word *key[4], *write[2], mask[4], value[2];
    for (int k = 0; k < K; ++k) {
        key[k] = planes + pass.key[k] * stride;
        mask[k] = pass.mask[k];
    }
    for (int k = 0; k < W; ++k) {
        write[k] = planes + pass.write[k] * stride;
        value[k] = pass.value[k];
    }
    number matched = 0;
#pragma GCC ivdep
    for (number w = from; w < to; ++w) {
        word tag = key[0][w] ^ mask[0];
        for (int k = 1; k < K; ++k) tag &= key[k][w] ^ mask[k];
        matched += __builtin_popcountll(tag);
        for (int k = 0; k < W; ++k) write[k][w] = (write[k][w] & ~tag) | (value[k] & tag);
    }
    return matched;
}

template <int K>
static number with_keys(word* planes, number stride, const Pass& pass, number from, number to) {
    return pass.writes == 1 ? run_pass<K, 1>(planes, stride, pass, from, to)
                            : run_pass<K, 2>(planes, stride, pass, from, to);
}

extern "C" void generic(word* planes, number stride, const Pass* passes, number count,
                        number words, number tile, number* matched) {
    for (number from = 0; from < words; from += tile) {
        number to = from + tile < words ? from + tile : words;
        for (number p = 0; p < count; ++p) {
            const Pass& pass = passes[p];
            matched[p] += pass.keys == 3 ? with_keys<3>(planes, stride, pass, from, to)
                                         : with_keys<4>(planes, stride, pass, from, to);
        }
    }
}

extern "C" void fused_add(word* planes, number stride, const number* lines, number steps,
                          number words, number tile, number* matched) {
    for (number from = 0; from < words; from += tile) {
        number to = from + tile < words ? from + tile : words;
        for (number s = 0; s < steps; ++s) {
            const word* A = planes + lines[4 * s] * stride;
            word* B = planes + lines[4 * s + 1] * stride;
            word* C = planes + lines[4 * s + 2] * stride;
            number m0 = 0, m1 = 0, m2 = 0, m3 = 0;
#pragma GCC ivdep
            for (number w = from; w < to; ++w) {
                word a = A[w], b = B[w], c = C[w];
                word t0 = a & b & ~c;
                b &= ~t0; c |= t0;
                word t1 = a & ~b & ~c;
                b |= t1;
                word t2 = ~a & ~b & c;
                b |= t2; c &= ~t2;
                word t3 = ~a & b & c;
                b &= ~t3;
                m0 += __builtin_popcountll(t0);
                m1 += __builtin_popcountll(t1);
                m2 += __builtin_popcountll(t2);
                m3 += __builtin_popcountll(t3);
                B[w] = b; C[w] = c;
            }
            number* m = matched + 4 * s;
            m[0] += m0; m[1] += m1; m[2] += m2; m[3] += m3;
        }
    }
}

extern "C" void fused_mul(word* planes, number stride, const number* lines, number steps,
                          number words, number tile, number* matched) {
    for (number from = 0; from < words; from += tile) {
        number to = from + tile < words ? from + tile : words;
        for (number s = 0; s < steps; ++s) {
            const word* D = planes + lines[4 * s] * stride;
            const word* A = planes + lines[4 * s + 1] * stride;
            word* P = planes + lines[4 * s + 2] * stride;
            word* C = planes + lines[4 * s + 3] * stride;
            number m0 = 0, m1 = 0, m2 = 0, m3 = 0;
#pragma GCC ivdep
            for (number w = from; w < to; ++w) {
                word a = A[w], d = D[w], p = P[w], c = C[w];
                word t0 = d & ~a & ~p & c;
                p |= t0; c &= ~t0;
                word t1 = d & ~a & p & c;
                p &= ~t1;
                word t2 = d & a & p & ~c;
                p &= ~t2; c |= t2;
                word t3 = d & a & ~p & ~c;
                p |= t3;
                m0 += __builtin_popcountll(t0);
                m1 += __builtin_popcountll(t1);
                m2 += __builtin_popcountll(t2);
                m3 += __builtin_popcountll(t3);
                P[w] = p; C[w] = c;
            }
            number* m = matched + 4 * s;
            m[0] += m0; m[1] += m1; m[2] += m2; m[3] += m3;
        }
    }
}
