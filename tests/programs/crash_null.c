/* Writes to address 16: a null pointer plus a field offset. */
#include <stdio.h>
struct node { long a, b, c; };
__attribute__((noinline)) static void store(volatile struct node *n) { n->c = 1; }
int main(void) {
  puts("ready");
  fflush(stdout);
  store(0);
  return 0;
}
