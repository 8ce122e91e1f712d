#include "wal-service/wal_counters.h"

struct wal_counters wal_counters;
