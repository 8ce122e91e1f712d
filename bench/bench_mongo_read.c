/* What a MongoDB delivers when nothing is done with it: documents of a collection in the order of _id, as import reads them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/mongo/mongo_source.h"
#include "common/base/clock.h"

struct count {
    uint64_t documents, bytes;
    int64_t first; /* when the first one came */
};

static bool take(void *ctx, struct bytes document, struct error *err)
{
    struct count *count = ctx;
    (void)err;
    if (count->documents++ == 0)
        count->first = clock_monotonic_micros();
    count->bytes += document.len;
    return true;
}

int main(int argc, char **argv)
{
    struct error err;
    struct count count = { 0 };
    struct mongo_source source = { 0 };
    if (argc != 4) {
        fputs("usage: bench_mongo_read URI DATABASE COLLECTION\n", stderr);
        return 2;
    }
    source.database = argv[2];
    int64_t started = clock_monotonic_micros();
    if (!mongo_server_open(argv[1], &source.server, &err) ||
        !mongo_source_read(&source, argv[3], (struct bytes) { 0 }, (struct bytes) { 0 }, take, &count, &err)) {
        fprintf(stderr, "bench_mongo_read: %s\n", err.message);
        return 1;
    }
    double seconds = (double)(clock_monotonic_micros() - started) / MICROS_PER_SECOND;
    printf("{\"bench\":\"mongo_read\",\"documents\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"seconds\":%.2f,\"seconds_to_first\":%.2f,\"documents_per_second\":%.0f}\n",
           count.documents, count.bytes, seconds, (double)(count.first - started) / MICROS_PER_SECOND, (double)count.documents / seconds);
    mongo_server_close(source.server);
    return 0;
}
