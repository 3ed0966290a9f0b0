/* Reading, changing and replacing the report; see report.h. */
#include "report.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct report {
    char path[512];
    json_t *root;
    bool failed;
};

struct report *report_open(const char *path)
{
    struct report *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->failed = (size_t)snprintf(r->path, sizeof r->path, "%s", path) >= sizeof r->path;
    r->root = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(r->root)) {
        json_decref(r->root);
        r->root = json_object();
    }
    return r;
}

/* The object `name` in `parent`; made when it is missing or something else. */
static json_t *child(json_t *parent, const char *name)
{
    json_t *o = json_object_get(parent, name);
    if (json_is_object(o))
        return o;
    return json_object_set_new(parent, name, json_object()) == 0 ? json_object_get(parent, name) : NULL;
}

static double rounded(double v) /* to a hundredth: nothing here is measured more exactly */
{
    return (double)(long long)(v * 100 + (v < 0 ? -0.5 : 0.5)) / 100;
}

static void set(struct report *r, const char *section, const char *name, const char *field, json_t *value)
{
    json_t *s = child(r->root, section), *o = s && field ? child(s, name) : s;
    if (!o || json_object_set(o, field ? field : name, value) != 0)
        r->failed = true;
    json_decref(value);
}

void report_number(struct report *r, const char *section, const char *name, const char *field, double value)
{
    set(r, section, name, field, json_real(rounded(value)));
}

void report_samples(struct report *r, const char *section, const char *name, const char *field, const double *v,
                    size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(a, json_real(rounded(v[i]))) != 0)
            r->failed = true;
    set(r, section, name, field, a);
}

/* The folder of the file; its parent is the build folder, which exists. */
static bool make_folder(const char *path)
{
    char folder[512];
    const char *slash = strrchr(path, '/');
    if (!slash)
        return true;
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    return mkdir(folder, 0777) == 0 || errno == EEXIST;
}

bool report_save(struct report *r)
{
    char new[sizeof r->path + 8];
    snprintf(new, sizeof new, "%s.new", r->path);
    bool ok = !r->failed && make_folder(r->path) &&
              json_dump_file(r->root, new, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_REAL_PRECISION(7)) == 0 &&
              rename(new, r->path) == 0;
    json_decref(r->root);
    free(r);
    return ok;
}
