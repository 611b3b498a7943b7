startTheme();
startPanel();
startCharts();
startPredictions();
startTables();
