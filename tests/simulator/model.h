/* What the log must hold: written down at the moment of each answer, compared after each crash. */
#ifndef ARGON_TESTS_SIMULATOR_MODEL_H
#define ARGON_TESTS_SIMULATOR_MODEL_H

#include "wal-service/append_batch.h"

enum { PROJECTS = 3, BRANCHES = 2, DOCUMENTS = 6, KEYS = BRANCHES * DOCUMENTS, MAX_ENTRIES = 6, REQUESTS = 400 };

/* A batch that is in the log. */
struct model_batch {
    uint64_t first_lsn, last_lsn, timestamp;
    uint64_t digest;           /* of everything that the writer sent */
    uint32_t touched, written; /* bits of the keys: documents, further keys */
    int request;               /* -1: none */
    uint32_t step;
    bool last, other_hash;
};

struct model_project {
    struct model_batch *batches;
    size_t n, capacity;
    uint64_t recovered_head; /* of this start */
};

struct model {
    struct model_project projects[PROJECTS];
};

void model_destroy(struct model *model);
void model_add(struct model *model, int project, const struct model_batch *batch);
uint64_t model_head(const struct model *model, int project);
/* Last LSN at which one of these keys was written; 0: never. */
uint64_t model_written(const struct model *model, int project, uint32_t keys);
/* The last committed step of a request; NULL: none. */
const struct model_batch *model_request(const struct model *model, int project, int request);

uint64_t frame_digest(const struct frame *frame);

#endif
