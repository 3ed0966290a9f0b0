/* handles: the dense numbers by which ike and dp know tunnels and accounts, and what they are called.
 * A tunnel keeps its handle over reloads while (account id, name) exists; a freed handle is used again, preferably once no worker of
 * the datapath may still see its former holder.
 */
#ifndef DAEMON_HANDLES_H
#define DAEMON_HANDLES_H

#include "adit/config.h"

struct inside;
struct handle_tunnel {
    const struct config_tunnel *row; /* NULL: free */
    uint32_t account;
    uint32_t mtu;   /* exact inner MTU that the kernel's routes carry */
    uint64_t after; /* free: not used again before handles.freed has come to it, if another will do */
};
struct handle_account {
    const struct config_account *row; /* NULL: free */
    struct inside *inside;            /* its TUN and routes; NULL until built */
    bool open;                        /* the TUN is there now */
};
struct handles {
    struct handle_tunnel *tunnels;
    struct handle_account *accounts;
    uint32_t n_tunnels, n_accounts; /* highest handle used + 1 */
    uint32_t used_tunnels, used_accounts;
    uint32_t cap_tunnels, cap_accounts;
    /* Numbers of the datapath's garbage (grace.h): the next to be taken, which has what a tunnel dropped now leaves behind, and
     * the latest that is freed; 0, both: there is none. */
    uint64_t coming, freed;
    struct map names; /* of struct name_node, private */
};

void handles_free(struct handles *h);
/* The handle of that account or tunnel, made if new. RC_NOMEM. */
enum rc handles_account(struct handles *h, const struct config_account *row, uint32_t *ret) ADIT_MUST_USE;
enum rc handles_tunnel(struct handles *h, const struct config_tunnel *row, uint32_t *ret) ADIT_MUST_USE;
/* ACCOUNT_NONE, TUNNEL_NONE when unknown. */
uint32_t handles_find_account(const struct handles *h, const char *id);
uint32_t handles_find_tunnel(const struct handles *h, uint32_t account, const char *name);
void handles_drop_account(struct handles *h, uint32_t account);
void handles_drop_tunnel(struct handles *h, uint32_t tunnel);
/* After a reload the rows lie in another configuration: every handle points there afterwards. */
void handles_repoint(struct handles *h, const struct config *now);
/* "NAME" or "ACCOUNT/NAME" as an operator types it. RC_ABSENT, or RC_EXISTS when NAME alone is ambiguous. */
enum rc handles_lookup(const struct handles *h, const char *text, uint32_t *ret) ADIT_MUST_USE;
/* "account/name"; "-" for TUNNEL_NONE. */
const char *handles_tunnel_text(const struct handles *h, uint32_t tunnel, char ret[136]);

#endif
