/* See folder.h. */
#include "folder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static bool each(const char *dir, const char *name, void (*take)(void *ctx, const char *name, struct span bytes),
                 void *ctx)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return true;
    size_t n = st.st_size < FOLDER_FILE_MAX ? (size_t)st.st_size : FOLDER_FILE_MAX;
    FILE *f = fopen(path, "rb");
    uint8_t *bytes = malloc(n);
    bool ok = f && (bytes || !n) && fread(bytes, 1, n, f) == n;
    if (ok)
        take(ctx, name, span_of(bytes, n));
    if (f)
        fclose(f);
    free(bytes);
    return ok;
}

bool folder_each(const char *dir, void (*take)(void *ctx, const char *name, struct span bytes), void *ctx)
{
    struct dirent **entries;
    int n = scandir(dir, &entries, NULL, alphasort);
    bool ok = n >= 0;
    for (int i = 0; i < n; i++) {
        ok = ok && each(dir, entries[i]->d_name, take, ctx);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return ok;
}
