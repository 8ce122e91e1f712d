/* What fuzz targets share. */
#ifndef ARGON_TESTS_FUZZ_FUZZ_H
#define ARGON_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* libFuzzer reports the input that ends the program. */
static inline void must(bool holds)
{
    if (!holds)
        abort();
}

#endif
