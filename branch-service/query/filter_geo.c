/* $geoWithin in the plane: $box, $center and $polygon, of points as [x, y], {x, y} or GeoJSON. What needs a sphere
 * is refused by name, as the other operators of places are. */
#include <math.h>

#include "branch-service/query/expression/value.h"
#include "branch-service/query/filter_ops.h"
#include "branch-service/query/query_error.h"
#include "common/bson/utf8.h"

struct point {
    double x, y;
};

struct shape {
    enum { SHAPE_BOX, SHAPE_CENTER, SHAPE_POLYGON } kind;
    double radius;
    size_t n;
    struct point *points; /* the corners of the box; the center; of the polygon */
};

static bool read_coordinate(const struct element *e, double *value)
{
    if (!element_is_number(e))
        return false;
    *value = double_of(e);
    return isfinite(*value);
}

/* Its first two fields; more may follow. */
static bool read_pair(struct bytes fields, struct point *point)
{
    struct element_reader reader;
    struct element x, y;
    element_reader_init(&reader, fields);
    return element_next(&reader, &x) && element_next(&reader, &y) && read_coordinate(&x, &point->x) && read_coordinate(&y, &point->y);
}

static bool read_point(const struct element *e, struct point *point)
{
    struct element type, coordinates;
    if (e->type != BSON_TYPE_DOCUMENT && e->type != BSON_TYPE_ARRAY)
        return false;
    if (e->type == BSON_TYPE_DOCUMENT && element_find(e->value, "type", 4, &type) && type.type == BSON_TYPE_UTF8)
        return bytes_equal(element_string(&type), bytes_of_string("Point")) && element_find(e->value, "coordinates", 11, &coordinates) &&
               coordinates.type == BSON_TYPE_ARRAY && read_pair(coordinates.value, point);
    return read_pair(e->value, point);
}

static bool read_points(struct filter *filter, const struct element *e, struct shape *shape, struct error *err)
{
    struct element_reader reader;
    struct element corner;
    size_t n = 0;
    element_reader_init(&reader, e->value);
    while (element_next(&reader, &corner))
        n++;
    shape->points = arena_alloc(&filter->arena, n * sizeof *shape->points);
    if (!shape->points)
        return error_out_of_memory(err);
    element_reader_init(&reader, e->value);
    while (element_next(&reader, &corner)) {
        if (!read_point(&corner, &shape->points[shape->n++]))
            return query_error(err, MONGO_BAD_VALUE, "$geoWithin: %s needs points of two numbers", e->name);
    }
    return true;
}

static bool read_box(struct filter *filter, const struct element *e, struct shape *shape, struct error *err)
{
    shape->kind = SHAPE_BOX;
    if (!read_points(filter, e, shape, err))
        return false;
    return shape->n == 2 || query_error(err, MONGO_BAD_VALUE, "$geoWithin: $box needs two points");
}

static bool read_polygon(struct filter *filter, const struct element *e, struct shape *shape, struct error *err)
{
    shape->kind = SHAPE_POLYGON;
    if (!read_points(filter, e, shape, err))
        return false;
    return shape->n >= 3 || query_error(err, MONGO_BAD_VALUE, "$geoWithin: $polygon must have at least 3 points");
}

static bool read_center(struct filter *filter, const struct element *e, struct shape *shape, struct error *err)
{
    struct element_reader reader;
    struct element center, radius, more;
    shape->kind = SHAPE_CENTER;
    shape->points = arena_alloc(&filter->arena, sizeof *shape->points);
    if (!shape->points)
        return error_out_of_memory(err);
    element_reader_init(&reader, e->value);
    if (!element_next(&reader, &center) || !read_point(&center, shape->points))
        return query_error(err, MONGO_BAD_VALUE, "$geoWithin: $center needs a point of two numbers");
    if (!element_next(&reader, &radius) || !read_coordinate(&radius, &shape->radius) || shape->radius < 0)
        return query_error(err, MONGO_BAD_VALUE, "$geoWithin: the radius of $center must be a number that is not negative");
    return !element_next(&reader, &more) || query_error(err, MONGO_BAD_VALUE, "$geoWithin: only 2 fields allowed for $center");
}

static const struct shape_kind {
    const char *name;
    bool (*read)(struct filter *filter, const struct element *e, struct shape *shape, struct error *err);
} shape_kinds[] = {
    { "$box", read_box },
    { "$center", read_center },
    { "$polygon", read_polygon },
};

bool prepare_geo_within(struct filter *filter, struct filter_node *node, struct bytes among, struct error *err)
{
    (void)among;
    struct element_reader reader;
    struct element e;
    struct shape *shape = arena_zalloc(&filter->arena, sizeof *shape);
    if (!shape)
        return error_out_of_memory(err);
    if (node->operand.type != BSON_TYPE_DOCUMENT)
        return query_error(err, MONGO_BAD_VALUE, "$geoWithin needs an object");
    element_reader_init(&reader, node->operand.value);
    if (!element_next(&reader, &e))
        return query_error(err, MONGO_BAD_VALUE, "$geoWithin needs a shape");
    node->prepared = shape;
    for (size_t i = 0; i < ARRAY_LEN(shape_kinds); i++) {
        if (!element_is_named(&e, shape_kinds[i].name, strlen(shape_kinds[i].name)))
            continue;
        if (e.type != BSON_TYPE_ARRAY && e.type != BSON_TYPE_DOCUMENT)
            return query_error(err, MONGO_BAD_VALUE, "$geoWithin: %s needs an array", e.name);
        return shape_kinds[i].read(filter, &e, shape, err);
    }
    if (element_is_named(&e, "$geometry", 9) || element_is_named(&e, "$centerSphere", 13))
        return query_error(err, MONGO_COMMAND_NOT_SUPPORTED, "$geoWithin with %s is not supported", e.name);
    return query_error(err, MONGO_BAD_VALUE, "$geoWithin: unknown geo specifier '%.*s'", utf8_fit(e.name, e.name_len, 60), e.name);
}

static bool is_in_polygon(const struct shape *shape, struct point p)
{
    bool inside = false;
    for (size_t i = 0, j = shape->n - 1; i < shape->n; j = i++) {
        struct point a = shape->points[i], b = shape->points[j];
        if ((a.y > p.y) != (b.y > p.y) && p.x < (b.x - a.x) * (p.y - a.y) / (b.y - a.y) + a.x)
            inside = !inside;
    }
    return inside;
}

bool match_geo_within(struct match *match, const struct filter_node *node, const struct element *value)
{
    const struct shape *shape = node->prepared;
    const struct point *at = shape->points;
    struct point p;
    if (!value || !read_point(value, &p))
        return false;
    switch (shape->kind) {
    case SHAPE_BOX:
        return p.x >= fmin(at[0].x, at[1].x) && p.x <= fmax(at[0].x, at[1].x) && p.y >= fmin(at[0].y, at[1].y) &&
               p.y <= fmax(at[0].y, at[1].y);
    case SHAPE_CENTER:
        return hypot(p.x - at->x, p.y - at->y) <= shape->radius;
    default:
        return !match_goes_on(match, shape->n * sizeof *shape->points) || is_in_polygon(shape, p);
    }
}
