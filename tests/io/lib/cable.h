/* cable: two network namespaces and a veth pair between them, called "wire" at both ends. */
#ifndef ADIT_TESTS_IO_CABLE_H
#define ADIT_TESTS_IO_CABLE_H

#include "unit/lib/unit.h"

#include "io/netlink.h"

#define NEAR "10.9.0.1"
#define FAR "10.9.0.2"
#define NEAR6 "fd09::1"
#define FAR6 "fd09::2"

void cable_open(int *ret_near,
                int *ret_far); /* descriptors of the namespaces; the caller is in the far one after that */
int new_namespace(void);       /* entered, its loopback device up */
void enter(int ns);
void ask(union netlink_message *m); /* rtnetlink, in the caller's namespace; fails the test when refused */
void add_address(const char *device, const char *text, uint8_t len);

#endif
