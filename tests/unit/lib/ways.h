/* Many GRE tunnels of the edge, to see which one a packet takes: handle FIRST + i goes to 192.0.2.(100 + i).
 */
#ifndef ADIT_TESTS_WAYS_H
#define ADIT_TESTS_WAYS_H

#include "world.h"

enum { FIRST = 10 };
struct tunnel_policy gre_number(uint32_t i, uint32_t account);
void add_tunnels(struct world *w, uint32_t n); /* of ACCOUNT, and publish */
/* Which of them a packet of `account` takes; -1: none has a route. */
int taken(struct world *w, uint32_t account, struct span packet);

#endif
