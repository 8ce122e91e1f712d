/* Batches whose contents follow from project, LSN and size, so that whoever reads one back can tell whether it
 * is right. */
#ifndef ARGON_TESTS_SAMPLE_FRAMES_H
#define ARGON_TESTS_SAMPLE_FRAMES_H

#include "wal-service/store/frame.h"

struct sample {
    struct frame frame;
    struct frame_run runs[2];
    uint64_t keys[2];
    uint8_t *memory;
    char branches[2][16], collections[2][16], project[MAX_PROJECT_ID_BYTES + 1], request[24];
};

enum { SAMPLE_RUNS = 2 };

/* Two runs: entries of both together are 1 + lsn % 3 + 1; `size` bytes each. Branch "b<lsn % 3>" with collection
 * "users", then branch "b<lsn % 2>" with collection "c<lsn % 5>". */
void sample_init(struct sample *sample, const char *project, uint64_t first_lsn, size_t size);
void sample_destroy(struct sample *sample);

/* Is it exactly the batch that sample_init makes for its project, LSN and size? */
bool sample_matches(const struct frame *frame);

#endif
