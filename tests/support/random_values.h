/* Random BSON values: every type, small alphabets so that equal ones happen, numbers where the types meet. */
#ifndef ARGON_TESTS_SUPPORT_RANDOM_VALUES_H
#define ARGON_TESTS_SUPPORT_RANDOM_VALUES_H

#include "common/bson/builder.h"

/* The value of the name that was just written. random_value nests up to `depth` levels. */
void random_number(struct builder *out);
void random_value(struct builder *out, int depth);

#endif
