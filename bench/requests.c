#include "bench/requests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILLER_BYTES = 240, FORK_STEPS = 4 };

void make_document(bson_t *out, int64_t id)
{
    char filler[FILLER_BYTES + 1];
    memset(filler, 'f', FILLER_BYTES);
    filler[FILLER_BYTES] = '\0';
    bson_init(out);
    bson_append_int64(out, "_id", 3, id);
    bson_append_int64(out, "n", 1, 0);
    bson_append_utf8(out, "filler", 6, filler, FILLER_BYTES);
}

void set_document(Argon__Branch__V1__Document *document, const bson_t *bson)
{
    argon__branch__v1__document__init(document);
    document->bson.data = (uint8_t *)bson_get_data(bson);
    document->bson.len = bson->len;
}

int64_t id_of(const Argon__Branch__V1__Document *document)
{
    bson_t bson;
    bson_iter_t at;
    bool found = document && bson_init_static(&bson, document->bson.data, document->bson.len) && bson_iter_init_find(&at, &bson, "_id") &&
                 BSON_ITER_HOLDS_INT64(&at);
    return found ? bson_iter_int64(&at) : -1;
}

static void expect(bool right, const char *what)
{
    if (right)
        return;
    fprintf(stderr, "%s: not the answer that is right\n", what);
    exit(1);
}

static void check_find(struct request_slot *slot, struct bytes response)
{
    Argon__Branch__V1__FindOneResponse *answer = argon__branch__v1__find_one_response__unpack(NULL, response.len, response.data);
    expect(answer && id_of(answer->document) == slot->id, "find");
    argon__branch__v1__find_one_response__free_unpacked(answer, NULL);
}

static void check_insert(struct request_slot *slot, struct bytes response)
{
    Argon__Branch__V1__InsertOneResponse *answer = argon__branch__v1__insert_one_response__unpack(NULL, response.len, response.data);
    expect(answer && id_of(answer->inserted_id) == slot->id, "insert");
    argon__branch__v1__insert_one_response__free_unpacked(answer, NULL);
}

static void check_update(struct request_slot *slot, struct bytes response)
{
    (void)slot;
    Argon__Branch__V1__UpdateResponse *answer = argon__branch__v1__update_response__unpack(NULL, response.len, response.data);
    expect(answer && answer->modified == 1, "update");
    argon__branch__v1__update_response__free_unpacked(answer, NULL);
}

static void check_delete(struct request_slot *slot, struct bytes response)
{
    (void)slot;
    Argon__Branch__V1__DeleteResponse *answer = argon__branch__v1__delete_response__unpack(NULL, response.len, response.data);
    expect(answer && answer->deleted == 1, "delete");
    argon__branch__v1__delete_response__free_unpacked(answer, NULL);
}

static void check_create_branch(struct request_slot *slot, struct bytes response)
{
    Argon__Branch__V1__CreateBranchResponse *answer = argon__branch__v1__create_branch_response__unpack(NULL, response.len, response.data);
    expect(answer && answer->branch && strcmp(answer->branch->name, slot->branch) == 0, "create branch");
    argon__branch__v1__create_branch_response__free_unpacked(answer, NULL);
}

static void set_filter(struct request_slot *slot, int64_t id)
{
    slot->id = id;
    bson_append_int64(&slot->first, "_id", 3, id);
    set_document(&slot->a, &slot->first);
}

static const ProtobufCMessage *find(struct request_slot *slot, Argon__Branch__V1__Target *target, int64_t id, const char **method)
{
    set_filter(slot, id);
    argon__branch__v1__find_one_request__init(&slot->find);
    slot->find.target = target;
    slot->find.filter = &slot->a;
    slot->check = check_find;
    *method = DOCUMENTS "FindOne";
    return &slot->find.base;
}

static const ProtobufCMessage *update(struct request_slot *slot, Argon__Branch__V1__Target *target, int64_t id, const char **method)
{
    bson_t inc;
    set_filter(slot, id);
    bson_append_document_begin(&slot->second, "$inc", 4, &inc);
    bson_append_int64(&inc, "n", 1, 1);
    bson_append_document_end(&slot->second, &inc);
    set_document(&slot->b, &slot->second);
    argon__branch__v1__update_request__init(&slot->update);
    slot->update.target = target;
    slot->update.filter = &slot->a;
    slot->update.update = &slot->b;
    slot->check = check_update;
    *method = DOCUMENTS "UpdateOne";
    return &slot->update.base;
}

static const ProtobufCMessage *insert(struct request_slot *slot, Argon__Branch__V1__Target *target, int64_t id, const char **method)
{
    slot->id = id;
    bson_destroy(&slot->first);
    make_document(&slot->first, id);
    set_document(&slot->a, &slot->first);
    argon__branch__v1__insert_one_request__init(&slot->insert);
    slot->insert.target = target;
    slot->insert.document = &slot->a;
    slot->check = check_insert;
    *method = DOCUMENTS "InsertOne";
    return &slot->insert.base;
}

static const ProtobufCMessage *delete (struct request_slot *slot, Argon__Branch__V1__Target *target, int64_t id, const char **method)
{
    set_filter(slot, id);
    argon__branch__v1__delete_request__init(&slot->delete);
    slot->delete.target = target;
    slot->delete.filter = &slot->a;
    slot->check = check_delete;
    *method = DOCUMENTS "DeleteOne";
    return &slot->delete.base;
}

/* A branch's life: it is made, written, read, dropped. */
static const ProtobufCMessage *fork_step(struct requests *requests, struct request_slot *slot, unsigned number, uint64_t n, int64_t id,
                                         const char **method)
{
    unsigned step = slot->fork;
    slot->fork = (step + 1) % FORK_STEPS;
    slot->target = requests->target;
    slot->target.branch = slot->branch;
    switch (step) {
    case 0:
        snprintf(slot->branch, sizeof slot->branch, "b%u-%llu", number, (unsigned long long)n);
        argon__branch__v1__create_branch_request__init(&slot->create_branch);
        slot->create_branch.project = requests->project;
        slot->create_branch.name = slot->branch;
        slot->check = check_create_branch;
        *method = BRANCHES "CreateBranch";
        return &slot->create_branch.base;
    case 1:
        return update(slot, &slot->target, id, method);
    case 2:
        return find(slot, &slot->target, id, method);
    default:
        argon__branch__v1__delete_branch_request__init(&slot->delete_branch);
        slot->delete_branch.project = requests->project;
        slot->delete_branch.name = slot->branch;
        slot->check = NULL; /* the answer is an LSN */
        *method = BRANCHES "DeleteBranch";
        return &slot->delete_branch.base;
    }
}

static uint64_t mix(uint64_t n)
{
    return (n + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 17;
}

const ProtobufCMessage *requests_next(void *ctx, unsigned number, uint64_t n, const char **method)
{
    struct requests *requests = ctx;
    struct request_slot *slot = &requests->slots[number];
    Argon__Branch__V1__Target *target = &requests->target;
    if (slot->first.len) {
        bson_destroy(&slot->first);
        bson_destroy(&slot->second);
    }
    bson_init(&slot->first);
    bson_init(&slot->second);
    uint64_t share = requests->documents / requests->in_flight;
    int64_t any = (int64_t)(mix(n) % requests->documents), own = (int64_t)(number * share + mix(n) % share);
    int64_t fresh = (int64_t)(requests->documents + n);
    switch (requests->workload) {
    case WORKLOAD_INSERT:
        return insert(slot, target, fresh, method);
    case WORKLOAD_FIND:
        return find(slot, target, any, method);
    case WORKLOAD_UPDATE:
        return update(slot, target, own, method);
    case WORKLOAD_MIX:
        break;
    }
    unsigned of_100 = (unsigned)(mix(n * 31) % 100);
    if (of_100 < 4)
        return fork_step(requests, slot, number, n, own, method);
    if (of_100 < 24) {
        int64_t there = slot->inserted;
        slot->inserted = there ? 0 : fresh;
        return there ? delete (slot, target, there, method) : insert(slot, target, fresh, method);
    }
    return of_100 < 60 ? update(slot, target, own, method) : find(slot, target, any, method);
}

void requests_check(void *ctx, unsigned number, struct bytes response)
{
    struct request_slot *slot = &((struct requests *)ctx)->slots[number];
    expect(response.len > 0, "a call");
    if (slot->check)
        slot->check(slot, response);
}
