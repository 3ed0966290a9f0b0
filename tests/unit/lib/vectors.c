/* See vectors.h. */
#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>

static void die(const char *path, int line, const char *what)
{
    fprintf(stderr, "%s:%d: %s\n", path, line, what);
    exit(2);
}

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

struct span pool_hex(struct pool *p, const char *hex, size_t digits)
{
    uint8_t *start = p->b + p->n;
    if (digits >= 2 && hex[0] == '0' && hex[1] == 'x')
        hex += 2, digits -= 2;
    if (digits % 2 || digits / 2 > sizeof p->b - p->n)
        die("hex", 0, "odd number of digits, or too many");
    for (size_t i = 0; i < digits; i += 2) {
        int hi = digit(hex[i]), lo = digit(hex[i + 1]);
        if (hi < 0 || lo < 0)
            die("hex", 0, "not a digit");
        p->b[p->n++] = (uint8_t)(hi << 4 | lo);
    }
    return span_of(start, digits / 2);
}

void vec_open(struct vec *v, const char *path)
{
    *v = (struct vec){.path = path, .file = gzopen(path, "rb")};
    if (!v->file)
        die(path, 0, "cannot be read (tests run from the project root)");
}

static void vec_section(struct vec *v, const char *line)
{
    size_t n = strlen(v->sections);
    if (v->n_fields) /* the first bracket after a case: a new heading */
        n = 0;
    v->n_fields = 0;
    snprintf(v->sections + n, sizeof v->sections - n, "%s", line);
}

bool vec_next(struct vec *v)
{
    char line[VEC_LINE];
    size_t used = 0, fields = 0;
    v->pool.n = 0;
    while (gzgets(v->file, line, sizeof line)) {
        v->line++;
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] == '[') {
            vec_section(v, line);
            continue;
        }
        char *eq = strstr(line, " =");
        if (line[0] == '#' || !eq) {
            if (fields && !line[0])
                break;
            continue;
        }
        const char *value = eq + 2 + strspn(eq + 2, " ");
        size_t n = strlen(value) + 1;
        *eq = '\0';
        if (fields == VEC_FIELDS || used + n > sizeof v->text || strlen(line) >= sizeof v->field[0].name)
            die(v->path, v->line, "too much for one case");
        memcpy(v->field[fields].name, line, strlen(line) + 1);
        v->field[fields].value = memcpy(v->text + used, value, n);
        used += n;
        fields++;
    }
    if (fields)
        v->n_fields = fields;
    else
        gzclose(v->file);
    return fields > 0;
}

bool vec_in(const struct vec *v, const char *section)
{
    const char *at = strstr(v->sections, section);
    return at && at > v->sections && at[-1] == '[' && at[strlen(section)] == ']';
}

struct span vec_hex(struct vec *v, const char *name)
{
    for (size_t i = 0; i < v->n_fields; i++)
        if (strcmp(v->field[i].name, name) == 0)
            return pool_hex(&v->pool, v->field[i].value, strlen(v->field[i].value));
    die(v->path, v->line, name);
    return span_of(NULL, 0);
}

json_t *vec_json(const char *path)
{
    json_error_t e;
    json_t *j = json_load_file(path, 0, &e);
    if (!j)
        die(path, e.line, e.text);
    return j;
}

const char *json_text(const json_t *object, const char *name)
{
    const char *s = json_string_value(json_object_get(object, name));
    if (!s)
        die("json", (int)json_integer_value(json_object_get(object, "tcId")), name);
    return s;
}

struct span json_hex(struct pool *p, const json_t *object, const char *name)
{
    const char *s = json_text(object, name);
    return pool_hex(p, s, strlen(s));
}

bool json_valid(const json_t *test)
{
    return strcmp(json_text(test, "result"), "invalid") != 0;
}

/* splitmix64: any fixed stream will do. */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void tape_fill(void *ctx, void *ret, size_t n)
{
    struct tape *t = ctx;
    uint8_t *p = ret;
    t->drawn += n;
    for (size_t i = 0; i < n; i++)
        p[i] = t->at < t->data.n ? t->data.p[t->at++] : (uint8_t)(next(&t->seed) >> 56);
}
