#include "handles.h"

#include "adit/crypto.h"

#include <stdio.h>
#include <stdlib.h>

/* One node per account (account == ACCOUNT_NONE) or tunnel; the text is copied, since rows come and go. */
struct name_node {
    struct map_node node;
    uint32_t account, handle;
    char text[64];
};

static uint64_t name_hash(uint32_t account, const char *text)
{
    static const uint8_t key[16]; /* names come from our own file: no one chooses collisions */
    return crypto_siphash(key, span_str(text)) + account * UINT64_C(0x9e3779b97f4a7c15);
}

static struct name_node *find(const struct handles *h, uint32_t account, const char *text)
{
    for (struct map_node *n = map_first(&h->names, name_hash(account, text)); n; n = map_next(n)) {
        struct name_node *name = CONTAINER_OF(n, struct name_node, node);
        if (name->account == account && strcmp(name->text, text) == 0)
            return name;
    }
    return NULL;
}

static enum rc add(struct handles *h, uint32_t account, const char *text, uint32_t handle)
{
    struct name_node *name = calloc(1, sizeof *name);
    if (!name)
        return RC_NOMEM;
    name->account = account;
    name->handle = handle;
    snprintf(name->text, sizeof name->text, "%s", text);
    enum rc rc = map_insert(&h->names, &name->node, name_hash(account, text));
    if (rc != RC_OK)
        free(name);
    return rc;
}

static void forget(struct handles *h, uint32_t account, const char *text)
{
    struct name_node *name = find(h, account, text);
    if (!name)
        return;
    map_remove(&h->names, &name->node);
    free(name);
}

/* Room for one more in an array of `size` octet elements; new elements are zero. */
static enum rc grow(void **v, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap)
        return RC_OK;
    uint32_t bigger = *cap ? *cap * 2 : 64;
    void *p = realloc(*v, bigger * size);
    if (!p)
        return RC_NOMEM;
    memset((uint8_t *)p + *cap * size, 0, (bigger - *cap) * size);
    *v = p;
    *cap = bigger;
    return RC_OK;
}

enum rc handles_account(struct handles *h, const struct config_account *row, uint32_t *ret)
{
    const struct name_node *known = find(h, ACCOUNT_NONE, row->id);
    if (known) {
        *ret = known->handle;
        return RC_OK;
    }
    uint32_t i = h->n_accounts;
    if (h->used_accounts < h->n_accounts) /* a gap: rare, so a scan will do */
        for (i = 0; h->accounts[i].row;)
            i++;
    enum rc rc = grow((void **)&h->accounts, i, &h->cap_accounts, sizeof *h->accounts);
    if (rc == RC_OK)
        rc = add(h, ACCOUNT_NONE, row->id, i);
    if (rc != RC_OK)
        return rc;
    h->accounts[i] = (struct handle_account){.row = row};
    h->used_accounts++;
    if (i == h->n_accounts)
        h->n_accounts++;
    *ret = i;
    return RC_OK;
}

/* Dense, but one whose former holder is still around comes last. */
static uint32_t free_tunnel(const struct handles *h)
{
    uint32_t any = h->n_tunnels;
    if (h->used_tunnels == h->n_tunnels)
        return any;
    for (uint32_t i = 0; i < h->n_tunnels; i++) {
        if (h->tunnels[i].row)
            continue;
        if (h->tunnels[i].after <= h->freed)
            return i;
        any = i;
    }
    return h->n_tunnels < CONFIG_TUNNELS_MAX ? h->n_tunnels : any;
}

enum rc handles_tunnel(struct handles *h, const struct config_tunnel *row, uint32_t *ret)
{
    uint32_t account;
    enum rc rc = handles_account(h, row->account, &account);
    if (rc != RC_OK)
        return rc;
    const struct name_node *known = find(h, account, row->name);
    if (known) {
        *ret = known->handle;
        return RC_OK;
    }
    uint32_t i = free_tunnel(h);
    rc = grow((void **)&h->tunnels, i, &h->cap_tunnels, sizeof *h->tunnels);
    if (rc == RC_OK)
        rc = add(h, account, row->name, i);
    if (rc != RC_OK)
        return rc;
    h->tunnels[i] = (struct handle_tunnel){.row = row, .account = account};
    h->used_tunnels++;
    if (i == h->n_tunnels)
        h->n_tunnels++;
    *ret = i;
    return RC_OK;
}

uint32_t handles_find_account(const struct handles *h, const char *id)
{
    const struct name_node *n = find(h, ACCOUNT_NONE, id);
    return n ? n->handle : ACCOUNT_NONE;
}

uint32_t handles_find_tunnel(const struct handles *h, uint32_t account, const char *name)
{
    const struct name_node *n = find(h, account, name);
    return n ? n->handle : TUNNEL_NONE;
}

void handles_drop_account(struct handles *h, uint32_t account)
{
    forget(h, ACCOUNT_NONE, h->accounts[account].row->id);
    h->accounts[account] = (struct handle_account){0};
    h->used_accounts--;
}

void handles_drop_tunnel(struct handles *h, uint32_t tunnel)
{
    forget(h, h->tunnels[tunnel].account, h->tunnels[tunnel].row->name);
    h->tunnels[tunnel] = (struct handle_tunnel){.after = h->coming};
    h->used_tunnels--;
}

void handles_repoint(struct handles *h, const struct config *now)
{
    for (size_t a = 0; a < now->accounts.n; a++) {
        const struct config_account *row = &now->accounts.v[a];
        uint32_t account = handles_find_account(h, row->id);
        if (account == ACCOUNT_NONE)
            continue;
        h->accounts[account].row = row;
        for (size_t t = 0; t < row->tunnels.n; t++) {
            uint32_t tunnel = handles_find_tunnel(h, account, row->tunnels.v[t].name);
            if (tunnel != TUNNEL_NONE)
                h->tunnels[tunnel].row = &row->tunnels.v[t];
        }
    }
}

enum rc handles_lookup(const struct handles *h, const char *text, uint32_t *ret)
{
    const char *slash = strchr(text, '/');
    uint32_t found = TUNNEL_NONE;
    for (uint32_t i = 0; i < h->n_tunnels; i++) {
        const struct config_tunnel *row = h->tunnels[i].row;
        if (!row || strcmp(row->name, slash ? slash + 1 : text) != 0)
            continue;
        const char *label = config_account_label(row->account);
        if (slash && (strlen(label) != (size_t)(slash - text) || strncmp(label, text, (size_t)(slash - text)) != 0))
            continue;
        if (found != TUNNEL_NONE)
            return RC_EXISTS;
        found = i;
    }
    if (found == TUNNEL_NONE)
        return RC_ABSENT;
    *ret = found;
    return RC_OK;
}

const char *handles_tunnel_text(const struct handles *h, uint32_t tunnel, char ret[136])
{
    const struct config_tunnel *row = tunnel < h->n_tunnels ? h->tunnels[tunnel].row : NULL;
    if (row)
        snprintf(ret, 136, "%s/%s", config_account_label(row->account), row->name);
    else
        snprintf(ret, 136, "-");
    return ret;
}

void handles_free(struct handles *h)
{
    for (struct map_node *n = map_walk(&h->names, NULL), *next; n; n = next) {
        next = map_walk(&h->names, n);
        map_remove(&h->names, n);
        free(CONTAINER_OF(n, struct name_node, node));
    }
    map_free(&h->names);
    free(h->tunnels);
    free(h->accounts);
    *h = (struct handles){0};
}
