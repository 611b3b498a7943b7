startTheme(redrawCharts);
startPanel();
startCharts();
startPredictions();
startTables();
