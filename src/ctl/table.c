/* Columns as wide as their widest cell. */
#include "ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct table {
    unsigned n_columns;
    size_t n_rows, cap;
    char **cells; /* row after row, headings first */
    bool right[TABLE_COLUMNS];
};

static void *must(void *p)
{
    if (p)
        return p;
    fprintf(stderr, "aditctl: out of memory\n");
    exit(1);
}

static void add_cell(struct table *t, size_t row, unsigned column, const char *text)
{
    t->cells[row * t->n_columns + column] = must(strdup(text ? text : "-"));
}

static void grow(struct table *t)
{
    if (t->n_rows < t->cap)
        return;
    t->cap = t->cap ? t->cap * 2 : 32;
    t->cells = must(realloc(t->cells, t->cap * t->n_columns * sizeof *t->cells));
}

struct table *table_new(const char *const *headings, unsigned n_columns, const char *right_aligned)
{
    struct table *t = must(calloc(1, sizeof *t));
    t->n_columns = n_columns;
    for (unsigned i = 0; i < n_columns && right_aligned[i]; i++)
        t->right[i] = right_aligned[i] == 'r';
    grow(t);
    for (unsigned i = 0; i < n_columns; i++)
        add_cell(t, 0, i, headings[i]);
    t->n_rows = 1;
    return t;
}

void table_row(struct table *t, ...)
{
    va_list ap;
    va_start(ap, t);
    grow(t);
    for (unsigned i = 0; i < t->n_columns; i++)
        add_cell(t, t->n_rows, i, va_arg(ap, const char *));
    t->n_rows++;
    va_end(ap);
}

static void print_row(const struct table *t, size_t row, const int *width)
{
    for (unsigned c = 0; c < t->n_columns; c++) {
        const char *cell = t->cells[row * t->n_columns + c];
        bool last = c + 1 == t->n_columns;
        if (t->right[c])
            printf("%*s", width[c], cell);
        else if (last)
            printf("%s", cell);
        else
            printf("%-*s", width[c], cell);
        printf("%s", last ? "\n" : "  ");
    }
}

void table_print_free(struct table *t, const char *when_empty)
{
    int width[TABLE_COLUMNS] = {0};
    for (size_t i = 0; i < t->n_rows * t->n_columns; i++) {
        int n = (int)strlen(t->cells[i]);
        if (n > width[i % t->n_columns])
            width[i % t->n_columns] = n;
    }
    if (t->n_rows == 1)
        printf("%s\n", when_empty);
    for (size_t row = 0; t->n_rows > 1 && row < t->n_rows; row++)
        print_row(t, row, width);
    for (size_t i = 0; i < t->n_rows * t->n_columns; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t);
}
