#include "branch-service/branch_counters.h"

struct branch_counters branch_counters;
