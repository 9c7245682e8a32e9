/* The kernel without Python: `driver TABLE key normal lo width low high scale mean dtype count stride` writes the
 * weights at the positions 0, stride, 2 stride ... of a stream to the standard output. For processors that run in an
 * emulator, where Python does not. */

#include "../../initlib/stream/_kernel.c"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    static int32_t table[3 * TABLE_ROWS];
    FILE *file = argc == 13 ? fopen(argv[1], "rb") : NULL;
    if (!file || fread(table, 4, 3 * TABLE_ROWS, file) != 3 * TABLE_ROWS)
        return 1;
    Law law = {strtoull(argv[2], NULL, 10), atoi(argv[3]),       (uint32_t)strtoull(argv[4], NULL, 10),
                     strtoull(argv[5], NULL, 10), atoi(argv[6]),       atoi(argv[7]),
                     strtod(argv[8], NULL),       strtod(argv[9], NULL), atoi(argv[10]),
                     table};
    const int64_t count = atoll(argv[11]), stride = atoll(argv[12]);
    const uint64_t base = 0;
    const int64_t offset = 0;
    uint32_t *pattern = stride == 1 ? NULL : malloc((size_t)count * sizeof *pattern);
    for (int64_t k = 0; pattern && k < count; k++)
        pattern[k] = (uint32_t)(k * stride);
    const Runs runs = {&base, &offset, 1, count, count, 0, 0, pattern, NULL};
    char *out = malloc((size_t)count * ITEMSIZE[law.dtype]);
    for (uint32_t j = 0; j < LANES; j++)
        iota[j] = j;
    const Group group = {law, runs, 0, count, 1, &out, &law.key};
    fill_baseline(&group, 1, 0, count);
    return fwrite(out, ITEMSIZE[law.dtype], (size_t)count, stdout) != (size_t)count;
}
