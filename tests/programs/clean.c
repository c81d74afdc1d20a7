/* Returns 0 from main. */
int main(void) { return 0; }
