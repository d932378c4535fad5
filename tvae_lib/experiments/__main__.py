from tvae_lib.experiments.command import main

main()
