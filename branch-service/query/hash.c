#include "branch-service/query/hash.h"

#include "common/base/random.h"

uint64_t hash_seed;

__attribute__((constructor)) static void choose_seed(void)
{
    hash_seed = random_u64();
}
