/**
 * The word for a figure beside its aim. It sets the exit code as well, so that no program can print a miss and end with 0.
 */
export const judged = (reached: boolean): 'met' | 'MISSED' => {
  if (!reached) process.exitCode = 1;
  return reached ? 'met' : 'MISSED';
};
