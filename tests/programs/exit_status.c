/* exit_status N [how]: ends with status N by return, exit, _exit, _Exit or quick_exit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
  int status = argc > 1 ? atoi(argv[1]) : 3;
  const char *how = argc > 2 ? argv[2] : "return";
  if (!strcmp(how, "exit")) exit(status);
  if (!strcmp(how, "_exit")) _exit(status);
  if (!strcmp(how, "_Exit")) _Exit(status);
  if (!strcmp(how, "quick_exit")) quick_exit(status);
  return status;
}
