/* exit_in_library HOW: a library ends the process; "destructor" does it after main has returned. */
#include <string.h>
void library_exits(const char *how);
void library_arms_destructor(void);
int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "destructor")) {
    library_arms_destructor();
    return 0;
  }
  library_exits(argc > 1 ? argv[1] : "_exit");
  return 0;
}
