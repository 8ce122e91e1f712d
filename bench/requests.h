/* The requests on documents and branches that benchmarks make, each with a check of its answer.
 *
 * A slot has one request at a time. What a slot may change is its own: the documents of its share, the document that it inserts
 * and deletes, the branch that it makes and drops. So nothing conflicts, and every answer is known before.
 *
 * Ownership  what a request points to belongs to its slot, until the slot's next request.
 * Errors     an answer that is not the right one ends the program.
 */
#ifndef ARGON_BENCH_REQUESTS_H
#define ARGON_BENCH_REQUESTS_H

#include <bson/bson.h>

#include "argon/branch/v1/branch.pb-c.h"
#include "bench/load.h"
#include "common/base/random.h"

#define DOCUMENTS "/argon.branch.v1.Documents/"
#define BRANCHES  "/argon.branch.v1.Branches/"

enum workload {
    WORKLOAD_INSERT,
    WORKLOAD_FIND,   /* strong, by _id */
    WORKLOAD_UPDATE, /* $inc by _id */
    WORKLOAD_MIX,    /* all of them, with deletes and forks; the number of documents and branches stays what it is */
};

struct requests {
    char project[ID_SIZE];
    uint64_t documents; /* with the _id 0, 1, ... */
    unsigned in_flight;
    enum workload workload;
    Argon__Branch__V1__Target target;
    struct request_slot {
        void (*check)(struct request_slot *slot, struct bytes response);
        int64_t id;       /* of the document that is asked for */
        int64_t inserted; /* mix: the document that is there to be deleted; 0: none */
        unsigned fork;    /* mix: steps that were made on its branch; 0: it has none */
        char branch[32];
        bson_t first, second; /* documents of the request */
        Argon__Branch__V1__Document a, b;
        Argon__Branch__V1__Target target; /* on its branch */
        union {
            Argon__Branch__V1__FindOneRequest find;
            Argon__Branch__V1__UpdateRequest update;
            Argon__Branch__V1__InsertOneRequest insert;
            Argon__Branch__V1__DeleteRequest delete;
            Argon__Branch__V1__CreateBranchRequest create_branch;
            Argon__Branch__V1__DeleteBranchRequest delete_branch;
        };
    } slots[LOAD_MAX_IN_FLIGHT];
};

/* Those of struct load; ctx: struct requests. */
const ProtobufCMessage *requests_next(void *ctx, unsigned slot, uint64_t n, const char **method);
void requests_check(void *ctx, unsigned slot, struct bytes response);

/* {_id: id, n: 0, filler: ...} of 300 bytes; initialises *out. */
void make_document(bson_t *out, int64_t id);
void set_document(Argon__Branch__V1__Document *document, const bson_t *bson);
/* The _id, or -1. */
int64_t id_of(const Argon__Branch__V1__Document *document);

#endif
